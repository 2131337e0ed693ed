/**
 * `npm run demo`: builds the field notebook and serves it to the LAN from a hub.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, hubScript, siteDirectory } from "./build.mjs";

const HELP = `usage: npm run demo -- [options]

Builds the field notebook, starts a hub that serves it to the LAN, prints the addresses and a QR
code to open it with, and opens a browser here if there is a display.

  --data DIR    where the hub keeps its log (default ./rowmesh-hub)
  --port N      the web page's port (default: the hub's own)
  --host ADDR   the address to listen on (default: all)
  --https       serve it over https too, for devices that trust the hub (see the page /trust)
  --no-open     open no browser
  --no-build    serve what was built before
  --check       no demo: run it headless with three browsers, and say whether they converge

exit codes: those of rowmesh hub; with --check 0 only if everything held`;

async function main() {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      port: { type: "string" },
      host: { type: "string" },
      https: { type: "boolean", default: false },
      "no-open": { type: "boolean", default: false },
      "no-build": { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  if (!values["no-build"]) build();
  if (values.check) {
    const { check } = await import("./check.mjs");
    return check();
  }
  return serve(values);
}

function serve({ data, port, host, https, "no-open": noOpen }) {
  const given = Object.entries({ data, port, host }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  const options = https ? [...given, "--https"] : given;
  const hub = spawn(process.execPath, [hubScript, "hub", "--site", siteDirectory, ...options], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: ["inherit", "pipe", "inherit"],
  });
  let said = "";
  hub.stdout.on("data", (bytes) => {
    process.stdout.write(bytes);
    if (said === null) return;
    said += bytes;
    const webPort = /Web page on port (\d+)/.exec(said)?.[1];
    if (webPort === undefined) return;
    said = null;
    if (!noOpen) openBrowser(`http://${host ?? "127.0.0.1"}:${webPort}/`);
  });
  // The hub stops cleanly on these; wait for it.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => hub.kill(signal));
  return new Promise((resolve, reject) => {
    hub.once("error", reject);
    hub.once("exit", (code) => resolve(code ?? 1));
  });
}

function openBrowser(url) {
  const command = browserCommand();
  if (command === null) return;
  const [name, ...args] = command;
  const opener = spawn(name, [...args, url], { stdio: "ignore", detached: true });
  opener.once("error", () => process.stdout.write(`Open ${url} in a browser.\n`));
  opener.unref();
}

function browserCommand() {
  if (process.platform === "darwin") return ["open"];
  if (process.platform === "win32") return ["cmd", "/c", "start", ""];
  const hasDisplay = process.env["DISPLAY"] || process.env["WAYLAND_DISPLAY"];
  return hasDisplay && existsSync("/usr/bin/xdg-open") ? ["/usr/bin/xdg-open"] : null;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error?.code?.startsWith?.("ERR_PARSE_ARGS_") ? 2 : 1;
}
