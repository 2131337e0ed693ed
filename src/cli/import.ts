/**
 * `rowmesh import`: bundle files into a stopped replica.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ERROR_REMEDIES } from "../protocol/errors.ts";
import type { BundleReport } from "../streams/bundle.ts";
import {
  type Command,
  CommandError,
  complain,
  EXIT_FAILURE,
  EXIT_OK,
  print,
  UsageError,
} from "./command.ts";
import { REPLICA_HELP, REPLICA_OPTIONS, withReplica } from "./stopped-replica.ts";

export const importCommand: Command = {
  help: `usage: rowmesh import [--data DIR] [--name NAME] [--from PEER] [--join LINK] [--json] FILE…
       rowmesh import … -                                (stdin)

Verifies the changesets of bundle files and takes them into a replica: in any order, any number of
times. Of a file that was cut short or damaged what comes before that place is taken. An app merges
them into its tables when it opens the database next. The replica must not be running.

${REPLICA_HELP}
  --from PEER   remember under this name what the writer of the bundle holds (rowmesh export --to)
  --join LINK   make the database, and join this mesh, when there is none
  --json        print one line of JSON for each file

exit codes: 0 all taken, 1 something refused, cut short or failed (stderr says what), 2 wrong command line`,
  run: async (args) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        ...REPLICA_OPTIONS,
        from: { type: "string" },
        join: { type: "string" },
        json: { type: "boolean", default: false },
      },
      allowPositionals: true,
      strict: true,
    });
    if (positionals.length === 0) throw new UsageError("name the files, or - for stdin");
    const { data, name, from, join } = values;
    const place = { data: resolve(data), name, ...(join === undefined ? {} : { join }) };
    return withReplica(place, async (mesh) => {
      let code = EXIT_OK;
      for (const file of positionals) {
        const report = await readable(file, (chunks) =>
          mesh.importBundle(chunks, from === undefined ? {} : { from }),
        );
        if (values.json) print(JSON.stringify({ file, ...report }));
        else print(summaryOf(file, report));
        if (report.complete && report.codes.length === 0) continue;
        complain(troubleOf(file, report));
        code = EXIT_FAILURE;
      }
      return code;
    });
  },
};

async function readable<T>(
  file: string,
  use: (chunks: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  try {
    return await use(file === "-" ? process.stdin : createReadStream(file));
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new CommandError(`cannot read ${file} (${error.message}).`);
  }
}

function summaryOf(file: string, { changesets, byVerdict }: BundleReport): string {
  const counts = Object.entries(byVerdict).map(([verdict, count]) => `${count} ${verdict}`);
  return `${file}: ${changesets} changesets${counts.length === 0 ? "" : ` (${counts.join(", ")})`}`;
}

/** One line. */
function troubleOf(file: string, { complete, codes }: BundleReport): string {
  const reasons = codes.map((code) => `${code}: ${ERROR_REMEDIES[code]}`).join(" ");
  const state = complete
    ? "not everything was taken"
    : "cut short or damaged; what is whole is taken";
  return `rowmesh import: ${file}: ${state}. ${reasons}`.trimEnd();
}
