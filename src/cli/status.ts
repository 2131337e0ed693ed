/**
 * `rowmesh status`: how a hub is. A running one says so itself, over its control socket; of a stopped
 * one its database is read.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { isMeshError } from "../protocol/errors.ts";
import { type Command, CommandError, EXIT_OK, print, UsageError } from "./command.ts";
import { askHub } from "./control-socket.ts";
import { REPLICA_NAME } from "./data-directory.ts";
import { DEFAULT_DATA } from "./hub-options.ts";
import { type HubStatus, statusReport } from "./status-report.ts";

const WATCH_MS = 1_000;

export const statusCommand: Command = {
  help: `usage: rowmesh status [--data DIR] [--json] [--watch]

Shows how a hub is: which devices are linked, how well, who lacks what of whom, what waits, what was
refused, and what to do about it. Of a stopped hub it shows what its log holds. Two hubs with the same
digest hold the same changesets. Run it on the hub's machine, as the hub's user.

  --data DIR    the hub's data directory (default ${DEFAULT_DATA})
  --json        print JSON: what mesh.status() gives, and running, peerId, meshName, pages, addresses
  --watch       go on, and print again after every change; of a running hub only

exit codes: 0 done, 1 failed (stderr says why and what to do), 2 wrong command line`,
  run: async (args) => {
    const { values } = parseArgs({
      args: [...args],
      options: {
        data: { type: "string", default: DEFAULT_DATA },
        json: { type: "boolean", default: false },
        watch: { type: "boolean", default: false },
      },
      allowPositionals: false,
      strict: true,
    });
    if (values.data === "") throw new UsageError("--data needs a directory");
    const data = resolve(values.data);
    if (values.watch) return watch(data, values.json ? "json" : "text");
    const status = (await statusOfRunning(data)) ?? (await statusOfStopped(data));
    if (values.json) print(JSON.stringify(status, null, 2));
    else for (const line of statusReport(status)) print(line);
    return EXIT_OK;
  },
};

/** Until the process is ended. */
async function watch(data: string, output: "json" | "text"): Promise<never> {
  let before = "";
  for (;;) {
    const status = await statusOfRunning(data).catch(() => null);
    const text = status === null ? `no hub runs in ${data}` : shown(status, output);
    if (text !== before) {
      if (output === "text" && process.stdout.isTTY) process.stdout.write("\x1b[2J\x1b[H");
      else if (output === "text" && before !== "") print("");
      print(output === "json" && status === null ? '{"running":false}' : text);
    }
    before = text;
    await sleep(WATCH_MS);
  }
}

const shown = (status: HubStatus, output: "json" | "text"): string =>
  output === "json" ? JSON.stringify(status) : statusReport(status).join("\n");

/** Null when none runs there. @throws CommandError */
export async function statusOfRunning(data: string): Promise<HubStatus | null> {
  let answer: unknown;
  try {
    answer = await askHub(data);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(
      `the hub in ${data} cannot be asked (${reason}). Run this as the hub's user, or try again.`,
    );
  }
  if (answer === null) return null;
  if (typeof answer !== "object" || !("running" in answer) || !("queues" in answer)) {
    throw new CommandError(`what runs in ${data} is another version. Use its own rowmesh command.`);
  }
  return answer as HubStatus;
}

async function statusOfStopped(data: string): Promise<HubStatus> {
  // Opening would make one.
  if (!existsSync(join(data, REPLICA_NAME))) {
    throw new CommandError(`there is no hub in ${data}. Name its data directory with --data.`);
  }
  // On demand, as in hub.ts.
  const { openMesh } = await import("../node/open-mesh-node.ts");
  const { hubStatus } = await import("./hub-status.ts");
  try {
    const mesh = await openMesh({
      name: REPLICA_NAME,
      storage: { directory: data },
      network: "off",
    });
    const read = await hubStatus(mesh, null);
    const status = await read();
    await mesh.close();
    return status;
  } catch (error) {
    if (!isMeshError(error, "ERR_STORAGE_LOCKED")) throw error;
    throw new CommandError(
      `the hub in ${data} is running and has no control socket (its data directory's path is too long, or it runs under another user). Look at its output, or stop it first.`,
    );
  }
}
