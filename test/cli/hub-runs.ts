/** Hubs as child processes in a folder of the test's own, on loopback. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ended, type Running, startCli } from "./run-cli.ts";

export interface Ready {
  readonly ready: true;
  readonly url: string;
  readonly urls: readonly string[];
  readonly peerId: string;
  readonly addresses: readonly string[];
  readonly pid: number;
}

export interface HubRuns {
  readonly folder: string;
  readonly start: (...args: string[]) => Running;
  /** Resolves when it is ready. */
  readonly startJson: (...args: string[]) => Promise<{ hub: Running; ready: Ready }>;
  /** Ends all, and removes the folder. */
  readonly close: () => Promise<void>;
}

export function openHubRuns(): HubRuns {
  const folder = mkdtempSync(join(tmpdir(), "rowmesh-hub-"));
  const running: Running[] = [];
  const start = (...args: string[]): Running => {
    const hub = startCli(["hub", "--host", "127.0.0.1", ...args], folder);
    running.push(hub);
    return hub;
  };
  return {
    folder,
    start,
    startJson: async (...args) => {
      const hub = start("--json", ...args);
      return { hub, ready: JSON.parse(await hub.line(/./)) as Ready };
    },
    close: async () => {
      for (const { child, ended } of running) {
        child.kill("SIGKILL");
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const stop = async ({ child, ended }: Running, signal: NodeJS.Signals): Promise<Ended> => {
  child.kill(signal);
  return ended;
};
