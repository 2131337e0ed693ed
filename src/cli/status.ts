/**
 * `rowmesh status`: what a stopped hub holds.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { MeshStatus } from "../node/api.ts";
import { isMeshError } from "../protocol/errors.ts";
import { type Command, CommandError, EXIT_OK, print } from "./command.ts";
import { REPLICA_NAME } from "./data-directory.ts";
import { DEFAULT_DATA } from "./hub-options.ts";

export const statusCommand: Command = {
  help: `usage: rowmesh status [--data DIR] [--json]

Shows the authors, versions and digest of a hub's log. The hub must be stopped: its page and its
peers show the same while it runs. Two hubs with the same digest hold the same changesets.

  --data DIR    the hub's data directory (default ${DEFAULT_DATA})
  --json        print JSON

exit codes: 0 done, 1 failed (stderr says why and what to do), 2 wrong command line`,
  run: async (args) => {
    const { values } = parseArgs({
      args: [...args],
      options: {
        data: { type: "string", default: DEFAULT_DATA },
        json: { type: "boolean", default: false },
      },
      allowPositionals: false,
      strict: true,
    });
    const status = await readStatus(resolve(values.data));
    if (values.json) print(JSON.stringify(status, null, 2));
    else printStatus(status);
    return EXIT_OK;
  },
};

async function readStatus(data: string): Promise<MeshStatus & { readonly peerId: string }> {
  // Opening would make one.
  if (!existsSync(join(data, REPLICA_NAME))) {
    throw new CommandError(`there is no hub in ${data}. Name its data directory with --data.`);
  }
  // On demand, as in hub.ts.
  const { openMesh } = await import("../node/open-mesh-node.ts");
  try {
    const mesh = await openMesh({
      name: REPLICA_NAME,
      storage: { directory: data },
      network: "off",
    });
    const status = { peerId: mesh.peerId, ...mesh.status() };
    await mesh.close();
    return status;
  } catch (error) {
    if (!isMeshError(error, "ERR_STORAGE_LOCKED")) throw error;
    throw new CommandError(`the hub in ${data} is running. Stop it first, or look at its page.`);
  }
}

function printStatus(status: MeshStatus & { readonly peerId: string }): void {
  const { meshId, peerId, digest, authors, waiting, forks } = status;
  print(`mesh     ${meshId ?? "none"}`);
  print(`peer     ${peerId}`);
  print(`digest   ${digest}`);
  print(`waiting  ${waiting.held + waiting.parked}`);
  print(`forks    ${forks.length}`);
  // A hub writes nothing itself.
  const writers = authors.filter(({ version }) => version > 0);
  print(`authors  ${writers.length}`);
  for (const { siteId, version } of writers) print(`  ${siteId}  up to version ${version}`);
}
