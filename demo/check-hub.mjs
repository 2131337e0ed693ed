/**
 * The hub of the check: a process of its own, on loopback, with a log that is thrown away.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { hubScript, siteDirectory } from "./build.mjs";

const START_TIMEOUT_MS = 60_000;
/** The killed process may still be writing its last. */
const REMOVE = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

export async function startHub() {
  const data = mkdtempSync(join(tmpdir(), "rowmesh-check-hub-"));
  const options = [
    "--port",
    "0",
    "--host",
    "127.0.0.1",
    "--data",
    data,
    "--site",
    siteDirectory,
    "--json",
  ];
  const child = spawn(process.execPath, [hubScript, "hub", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => {
    child.once("exit", resolve);
    child.once("error", resolve);
  });
  const killNow = () => {
    child.kill("SIGKILL");
  };
  const atExit = () => {
    killNow();
    rmSync(data, REMOVE);
  };
  process.once("exit", atExit);
  const kill = async () => {
    killNow();
    await ended;
  };
  const close = async () => {
    await kill();
    process.off("exit", atExit);
    rmSync(data, REMOVE);
  };
  try {
    const { url, pid } = await firstLine(child, ended, killNow);
    return { url, pid, kill, close, isAlive: () => isAlive(pid) };
  } catch (error) {
    await close();
    throw error;
  }
}

async function firstLine(child, ended, killNow) {
  const timer = setTimeout(() => killNow(), START_TIMEOUT_MS);
  const lines = createInterface({ input: child.stdout });
  try {
    return await new Promise((resolve, reject) => {
      lines.once("line", (line) => {
        const ready = JSON.parse(line);
        if (ready.ready === true) resolve(ready);
        else reject(new Error(`the hub says: ${line}`));
      });
      void ended.then((code) =>
        reject(new Error(`the hub ended with ${code} before it was ready`)),
      );
    });
  } finally {
    clearTimeout(timer);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
