/**
 * Starts one headless Chromium as a process of its own and ends it again by its process id, whatever
 * happens to the caller.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const START_TIMEOUT_MS = 60_000;

/** The killed process may still be writing its last. */
const REMOVE = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

const ARGS = [
  "--headless",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A page behind another window is throttled to one timer a second; these must all keep working.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--remote-debugging-port=0",
];

/** By process id what ends each running one: at the latest with this process. */
const running = new Map();
process.once("exit", () => {
  for (const end of running.values()) end();
});

/**
 * @param {string} path the executable, see `find-chromium.mjs`
 * @param {{ profile?: string, hosts?: string, camera?: string }} options `profile`: its folder,
 * kept; a fresh one, removed at the end, when left out. `hosts`: a pattern of names that lead to
 * 127.0.0.1. `camera`: a video file, read whenever a page opens the camera, that it then sees
 * @returns its process id, Playwright's browser, and `close`, which kills the process with all of
 * its children; idempotent
 */
export async function launchChromium(path, options = {}) {
  const profile = options.profile ?? mkdtempSync(join(tmpdir(), "rowmesh-chromium-"));
  const args = [...ARGS, `--user-data-dir=${profile}`];
  if (options.hosts !== undefined)
    args.push(`--host-resolver-rules=MAP ${options.hosts} 127.0.0.1`);
  if (options.camera !== undefined)
    args.push(
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      `--use-file-for-fake-video-capture=${options.camera}`,
    );
  // Nobody speaks through it, but Chromium ends when it closes: with this process, however that ends.
  if (process.platform !== "win32") args.push("--remote-debugging-pipe");
  // Chromium refuses its sandbox to root.
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  const child = spawn(path, [...args, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
    // A process group of its own: its helpers end with it.
    detached: true,
  });
  const remove = () => {
    if (options.profile === undefined) rmSync(profile, REMOVE);
  };
  running.set(child.pid, () => {
    killGroup(child.pid);
    remove();
  });
  const ended = new Promise((resolve) => {
    child.once("exit", resolve);
    child.once("error", resolve);
  });
  const close = async () => {
    killGroup(child.pid);
    await ended;
    running.delete(child.pid);
    remove();
  };
  try {
    const browser = await chromium.connectOverCDP(await debuggingAddress(child, ended));
    return { pid: child.pid, browser, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Chromium tells it on its standard error. */
async function debuggingAddress(child, ended) {
  const timer = setTimeout(() => killGroup(child.pid), START_TIMEOUT_MS);
  const lines = createInterface({ input: child.stderr });
  try {
    return await new Promise((resolve, reject) => {
      const last = [];
      lines.on("line", (line) => {
        last.push(line);
        const found = /DevTools listening on (ws:\S+)/.exec(line);
        if (found) resolve(found[1]);
      });
      void ended.then(() => reject(new Error(`Chromium did not start:\n${last.join("\n")}`)));
    });
  } finally {
    clearTimeout(timer);
    lines.close();
    // Nobody reads on; a full pipe would stop it.
    child.stderr.resume();
  }
}

function killGroup(pid) {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, "SIGKILL");
  } catch (error) {
    // Already gone.
    if (error.code !== "ESRCH") throw error;
  }
}
