declare module "@vlcn.io/wa-sqlite/dist/crsqlite-sync.mjs" {
  const createEmscriptenModule: <Module>(options: object) => Promise<Module>;
  export default createEmscriptenModule;
}
