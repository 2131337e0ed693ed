/** The command line as its users have it: a child process over `dist/` (`npm run build` first). */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** The first line of stdout that matches. Rejects when the process ends before. */
  readonly line: (pattern: RegExp) => Promise<string>;
  readonly ended: Promise<Ended>;
}

export function startCli(args: readonly string[], cwd?: string): Running {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
  const line = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const whole = stdout.split("\n").slice(0, -1);
        const found = whole.find((candidate) => pattern.test(candidate));
        if (found !== undefined) resolve(found);
      };
      child.stdout.on("data", look);
      look();
      void ended.then(({ code }) => reject(new Error(`ended with ${code}: ${stderr}`)));
    });
  return { child, line, ended };
}

export function runCli(args: readonly string[], stdin?: Uint8Array): Promise<Ended> {
  const { child, ended } = startCli(args);
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(stdin ?? "");
  return ended;
}
