import { check } from "./check-debug.mjs"; process.exitCode = await check().catch(e=>{console.error(e);return 1});
