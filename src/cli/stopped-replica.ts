/**
 * Opens the database of a hub or an app that is not running, without a network.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Mesh } from "../node/api.ts";
import { isMeshError } from "../protocol/errors.ts";
import { CommandError, UsageError } from "./command.ts";
import { REPLICA_NAME } from "./data-directory.ts";
import { DEFAULT_DATA } from "./hub-options.ts";

/** For `util.parseArgs`. */
export const REPLICA_OPTIONS: Readonly<
  Record<"data" | "name", { readonly type: "string"; readonly default: string }>
> = {
  data: { type: "string", default: DEFAULT_DATA },
  name: { type: "string", default: REPLICA_NAME },
};

export const REPLICA_HELP: string = `  --data DIR    the data directory (default ${DEFAULT_DATA})
  --name NAME   the database in it (default ${REPLICA_NAME}, a hub's)`;

export interface ReplicaPlace {
  readonly data: string;
  readonly name: string;
  /** A join link: makes the database when there is none. */
  readonly join?: string;
}

/** Closes it again, whatever `use` does. @throws CommandError, MeshError */
export async function withReplica<T>(
  { data, name, join: link }: ReplicaPlace,
  use: (mesh: Mesh) => Promise<T>,
): Promise<T> {
  if (data === "") throw new UsageError("--data needs a directory");
  // Opening would make one.
  if (link === undefined && !existsSync(join(data, name))) {
    throw new CommandError(
      `there is no database ${name} in ${data}. Name its directory with --data and --name.`,
    );
  }
  // On demand, as in hub.ts.
  const { openMesh } = await import("../node/open-mesh-node.ts");
  let mesh: Mesh;
  try {
    const storage = { directory: data };
    mesh = await openMesh({
      name,
      storage,
      network: "off",
      ...(link === undefined ? {} : { join: link }),
    });
  } catch (error) {
    if (!isMeshError(error, "ERR_STORAGE_LOCKED")) throw error;
    throw new CommandError(`the database ${name} in ${data} is in use. Stop what uses it first.`);
  }
  try {
    return await use(mesh);
  } finally {
    await mesh.close();
  }
}
