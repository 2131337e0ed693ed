/**
 * `rowmesh export`: what a stopped replica holds, as a bundle file.
 *
 * @module
 */

import { createWriteStream } from "node:fs";
import { rename } from "node:fs/promises";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { type Command, CommandError, EXIT_OK, print, UsageError } from "./command.ts";
import { REPLICA_HELP, REPLICA_OPTIONS, withReplica } from "./stopped-replica.ts";

export const exportCommand: Command = {
  help: `usage: rowmesh export [--data DIR] [--name NAME] [--to PEER] [--local-only] FILE
       rowmesh export … -                                (stdout)

Writes signed changesets to a bundle file, for rowmesh import on another device. What it says can be
read by whoever has the file; nobody can change it unnoticed. The replica must not be running.

${REPLICA_HELP}
  --to PEER     leave out what that peer is known to hold, from bundles imported with --from PEER
  --local-only  only what was written on this device

exit codes: 0 done, 1 failed (stderr says why and what to do), 2 wrong command line`,
  run: async (args) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        ...REPLICA_OPTIONS,
        to: { type: "string" },
        "local-only": { type: "boolean", default: false },
      },
      allowPositionals: true,
      strict: true,
    });
    const [file] = positionals;
    if (file === undefined || positionals.length > 1) {
      throw new UsageError("name one file, or - for stdout");
    }
    const place = { data: resolve(values.data), name: values.name };
    const bytes = await withReplica(place, (mesh) =>
      write(
        file,
        mesh.exportBundle({
          localOnly: values["local-only"],
          ...(values.to === undefined ? {} : { to: values.to }),
        }),
      ),
    );
    if (file !== "-") print(`${file}: ${bytes} bytes`);
    return EXIT_OK;
  },
};

/** Under its name only when it is whole and on the disk. */
async function write(file: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      yield chunk;
    }
  }
  const source = Readable.from(counted(), { objectMode: true });
  if (file === "-") {
    await pipeline(source, process.stdout, { end: false });
    return bytes;
  }
  const unfinished = `${file}.new`;
  const target = createWriteStream(unfinished, { flush: true, mode: 0o600 });
  try {
    await pipeline(source, target);
    await rename(unfinished, file);
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new CommandError(`cannot write ${file} (${error.message}).`);
  }
  return bytes;
}
