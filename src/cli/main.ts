#!/usr/bin/env node
/**
 * `rowmesh`: the command line. Finds the command, runs it, turns what went wrong into one line.
 *
 * @module
 */

// oxlint-disable-next-line import/no-unassigned-import -- patches globals, before anything reads them
import "./node20-polyfills.ts";
import { readFileSync } from "node:fs";
import { isMeshError } from "../protocol/errors.ts";
import {
  type Command,
  CommandError,
  complain,
  EXIT_FAILURE,
  EXIT_OK,
  EXIT_USAGE,
  print,
  UsageError,
} from "./command.ts";

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: "hub",
    summary: "run a hub: keeps, forwards, introduces, serves the app to the LAN",
    load: async () => (await import("./hub.ts")).hubCommand,
  },
  {
    name: "status",
    summary: "show how a hub is: its devices, what is missing from whom, what to do",
    load: async () => (await import("./status.ts")).statusCommand,
  },
  {
    name: "doctor",
    summary: "look for what keeps devices from meeting, and say what to do",
    load: async () => (await import("./doctor.ts")).doctorCommand,
  },
  {
    name: "export",
    summary: "write what a stopped replica holds to a bundle file",
    load: async () => (await import("./export.ts")).exportCommand,
  },
  {
    name: "import",
    summary: "take bundle files into a stopped replica",
    load: async () => (await import("./import.ts")).importCommand,
  },
  {
    name: "inspect",
    summary: "show what a frame, changeset or join link says, as JSON",
    load: async () => (await import("./inspect.ts")).inspectCommand,
  },
];

const HELP = `rowmesh keeps one SQLite database the same on many devices, with no server in between.

usage: rowmesh <command> [options]

${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`).join("\n")}

  rowmesh <command> --help    the command's options
  rowmesh --version           the version

exit codes: 0 done, 1 failed (stderr says why and what to do), 2 wrong command line`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-v") {
    print(version());
    return EXIT_OK;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    print(HELP);
    return EXIT_OK;
  }
  if (name === undefined) {
    complain(HELP);
    return EXIT_USAGE;
  }
  const entry = COMMANDS.find((candidate) => candidate.name === name);
  if (entry === undefined) {
    complain(`rowmesh: no command "${name}"; see rowmesh --help`);
    return EXIT_USAGE;
  }
  const command = await entry.load();
  if (rest.includes("--help") || rest.includes("-h")) {
    print(command.help);
    return EXIT_OK;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    return explain(name, error);
  }
}

/** One line on stderr, with the remedy; the whole error only for what nobody foresaw. */
function explain(command: string, error: unknown): number {
  const says = `rowmesh ${command}: `;
  if (error instanceof UsageError || isParseArgsError(error)) {
    complain(`${says}${firstLine(error.message)}; see rowmesh ${command} --help`);
    return EXIT_USAGE;
  }
  if (error instanceof CommandError) {
    complain(says + error.message);
    return EXIT_FAILURE;
  }
  if (isMeshError(error)) {
    complain(`${says}${firstLine(error.message)}. ${error.remedy}`);
    return EXIT_FAILURE;
  }
  complain(says + (error instanceof Error ? (error.stack ?? error.message) : String(error)));
  return EXIT_FAILURE;
}

const firstLine = (message: string): string => message.split("\n", 1)[0]!.replace(/[.;]$/, "");

const isParseArgsError = (error: unknown): error is Error =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  error.code.startsWith("ERR_PARSE_ARGS_");

function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}

// A reader that goes away (`rowmesh … | head`, a launcher that read its one line) is no failure.
process.stdout.on("error", () => {});
process.exitCode = await main(process.argv.slice(2));
