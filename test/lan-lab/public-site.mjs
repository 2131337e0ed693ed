/**
 * A web server of somebody's on the internet: serves a folder over https, and knows nothing of hubs.
 * `node public-site.mjs DIRECTORY KEY.pem CERTIFICATE.pem PORT`, says "ready".
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { openSiteServer } from "../../dist/cli/site-server.js";

const [site, key, cert, port] = process.argv.slice(2);
await openSiteServer({
  port: Number(port),
  host: "0.0.0.0",
  site,
  describe: () => Promise.reject(new Error("this is no hub")),
  tls: { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") },
  trust: null,
});
process.stdout.write("ready\n");
