/**
 * Finds a Chromium for tests and the demo's check: `CHROME_PATH` or `CHROMIUM`, the PATH, the usual places,
 * Playwright's cache; else installs one. Every candidate is asked for its version first, since
 * some distributions ship a stub that only prints advice.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const NAMES = [
  "chromium",
  "chromium-browser",
  "google-chrome",
  "google-chrome-stable",
  "chrome",
  "chrome.exe",
  "microsoft-edge",
  "msedge.exe",
];

const USUAL_PLACES = [
  "/usr/lib/chromium/chromium",
  "/snap/bin/chromium",
  "/opt/google/chrome/chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
];

const VERSION_TIMEOUT_MS = 30_000;
const DOWNLOAD_TIMEOUT_MS = 180_000;
const INSTALL_TIMEOUT_MS = 600_000;

const ADVICE = `No Chromium, Chrome or Edge was found, and none could be installed.
Install one, or set CHROME_PATH to its executable.`;

/**
 * The path of an executable that runs.
 * @throws Error when there is none and installing failed; the message says what to do
 */
export function findChromium() {
  const named = process.env["CHROME_PATH"] || process.env["CHROMIUM"];
  if (named) {
    if (runs(named)) return named;
    throw new Error(`CHROME_PATH (or CHROMIUM) is ${named}, which does not run.`);
  }
  return firstThatRuns() ?? install();
}

function firstThatRuns() {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const onPath = folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [...onPath, ...USUAL_PLACES, playwrightPath()].find(runs) ?? null;
}

/** Where Playwright would put its own; it may not be there. */
function playwrightPath() {
  try {
    return chromium.executablePath();
  } catch {
    // Playwright has no build for this system.
    return "";
  }
}

function runs(path) {
  if (path === "" || !existsSync(path)) return false;
  // Chrome on Windows opens a window when asked for its version.
  if (process.platform === "win32") return true;
  return spawnSync(path, ["--version"], { timeout: VERSION_TIMEOUT_MS }).status === 0;
}

function install() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const playwright = join(root, "node_modules/playwright/cli.js");
  const attempts = [
    {
      timeout: DOWNLOAD_TIMEOUT_MS,
      commands: [[process.execPath, playwright, "install", "chromium"]],
    },
  ];
  if (process.getuid?.() === 0 && existsSync("/etc/debian_version")) {
    // A new machine knows no packages before its first update.
    const commands = [
      ["apt-get", "update"],
      ["apt-get", "install", "-y", "chromium"],
    ];
    attempts.push({ timeout: INSTALL_TIMEOUT_MS, commands });
  }
  for (const { timeout, commands } of attempts) {
    for (const [command, ...args] of commands) {
      process.stderr.write(`no Chromium found; trying: ${command} ${args.join(" ")}\n`);
      // What it prints must not mix with the one line of JSON that callers promise on stdout.
      spawnSync(command, args, { stdio: ["ignore", 2, 2], timeout });
    }
    const found = firstThatRuns();
    if (found !== null) return found;
  }
  throw new Error(ADVICE);
}

// `node scripts/find-chromium.mjs`: once, before many tests look for it at the same time.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(`${findChromium()}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
