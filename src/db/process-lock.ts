/**
 * A lock that dies with its holder: a listening local socket whose name is derived from what it
 * guards. Nothing is left behind after kill -9 on Linux (abstract socket) and Windows (named pipe);
 * elsewhere a socket file stays, and whether someone still listens tells whether it counts.
 *
 * Node only. On Linux the name lives in the network namespace: containers that share a volume but
 * no network do not see each other's locks.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { unlinkSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { MeshError } from "../protocol/errors.ts";

export interface ProcessLock {
  /** Idempotent. */
  readonly release: () => Promise<void>;
}

/** @param what an absolute, resolved path. @throws ERR_STORAGE_LOCKED while another holder lives */
export const acquireProcessLock = async (what: string): Promise<ProcessLock> => {
  const name = `rowmesh-${createHash("sha256").update(what).digest("hex").slice(0, 32)}`;
  const path = lockPath(name);
  const server = (await listen(path)) ?? ((await isAbandoned(path)) ? await listen(path) : null);
  if (server === null) {
    throw new MeshError("ERR_STORAGE_LOCKED", `another process has ${what} open`);
  }
  // A lock alone keeps no process running.
  server.unref();
  return {
    release: async () => {
      if (!server.listening) return;
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

const lockPath = (name: string): string => {
  if (process.platform === "linux") return `\0${name}`;
  if (process.platform === "win32") return `\\\\.\\pipe\\${name}`;
  return join(tmpdir(), `${name}.sock`);
};

/** Null when the name is taken. */
const listen = async (path: string): Promise<Server | null> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(null);
      else reject(new MeshError("ERR_STORAGE_UNAVAILABLE", "cannot lock", { cause: error }));
    });
    // Exclusive: the workers of a cluster would otherwise share one socket.
    server.listen({ path, exclusive: true }, () => resolve(server));
  });

/** Whether a socket file has no listener any more; if so it is removed. */
const isAbandoned = async (path: string): Promise<boolean> => {
  if (process.platform === "linux" || process.platform === "win32") return false;
  const refused = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
  if (refused) unlinkSync(path);
  return refused;
};
