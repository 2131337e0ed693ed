/**
 * How a running hub tells the machine it runs on how it is: a Unix socket in its data directory
 * (a named pipe on Windows), which only its owner can open. Whoever connects gets one JSON document
 * and the end. What is sent to it is read by nobody: no commands come in this way.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

/** `sun_path` is 108 bytes on Linux and 104 on macOS, a zero included. */
const SOCKET_PATH_BYTES_MAX = 103;
/** Of a status: 65,536 authors of some 200 bytes, and room. */
const ANSWER_BYTES_MAX: number = 64 * 1024 * 1024;
const TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 8;

export interface ControlSocket {
  /** Removes the socket's file. */
  readonly close: () => Promise<void>;
}

/**
 * Replaces a socket that a killed hub left: call it while holding the lock of the data directory.
 * @throws the system's error, and `RangeError` on a path that is too long for a socket.
 */
export async function openControlSocket(
  directory: string,
  answer: () => Promise<object>,
): Promise<ControlSocket> {
  const path = socketPath(directory);
  if (path === null) {
    throw new RangeError(`its path would be longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  const isFile = process.platform !== "win32";
  if (isFile) rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // Whoever goes away in the middle, or reads nothing.
    socket.on("error", () => socket.destroy());
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.resume();
    // It fails only when the hub is being closed.
    answer().then(
      (value) => socket.end(`${JSON.stringify(value)}\n`),
      () => socket.destroy(),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, path);
  if (isFile) chmodSync(path, 0o600);
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** What the running hub says, or null when none runs there. @throws Error when it says nonsense. */
export function askHub(directory: string): Promise<unknown> {
  const path = socketPath(directory);
  if (path === null) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const socket = connect(path);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("it does not answer")));
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) socket.destroy(new Error("its answer is too long"));
      else chunks.push(chunk);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(null);
      else reject(error);
    });
    socket.on("end", () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString()));
      } catch {
        // It was killed in the middle of its answer.
        reject(new Error("its answer is cut short"));
      }
    });
  });
}

/** Null: there can be none. */
export function socketPath(directory: string): string | null {
  if (process.platform === "win32") {
    const name = createHash("sha256").update(directory.toLowerCase()).digest("hex").slice(0, 32);
    return `\\\\.\\pipe\\rowmesh-${name}`;
  }
  const path = join(directory, "control.sock");
  return Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX ? null : path;
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
