/** An app: the package as an app gets it, and its schema. The test drives it by name. */
import { type Mesh, openMesh, type OpenMeshOptions } from "rowmesh";

const SCHEMA = {
  version: 1,
  tables: [
    "CREATE TABLE animal (id TEXT PRIMARY KEY NOT NULL, legs INTEGER CHECK (legs >= 0), weight REAL, photo BLOB) STRICT",
    "CREATE TABLE tag (id TEXT PRIMARY KEY NOT NULL) STRICT",
  ],
};

const app = {
  schema: SCHEMA,
  /** The one that is open. */
  mesh: null as Mesh | null,
  /** Writes that were, of a test that counts them. */
  acknowledged: 0,
  open: async (options: OpenMeshOptions): Promise<Mesh> => {
    app.mesh = await openMesh({ schema: SCHEMA, ...options });
    return app.mesh;
  },
  opened: (): Mesh => {
    if (app.mesh === null) throw new RangeError("open first");
    return app.mesh;
  },
  /** What a promise ended in: its value, or the code (else the name) of its error. */
  outcome: (promise: Promise<unknown>): Promise<unknown> =>
    promise.catch((error: unknown) => {
      const { code, name, message } = error as { code?: string; name: string; message: string };
      return code ?? `${name}: ${message}`;
    }),
  pause: (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs)),
};

export type App = typeof app;

declare global {
  var app: App;
}
globalThis.app = app;
