/**
 * The state of the mesh in one word of colour and one sentence.
 *
 * @module
 */

import type { MeshStatus } from "rowmesh";
import { count } from "./words.ts";

export interface MeshSummary {
  readonly tone: "good" | "busy" | "quiet" | "trouble";
  /** A few words for the bar. */
  readonly short: string;
  /** A sentence for the mesh screen; null where the status's first notice says it. */
  readonly long: string | null;
}

export function summarise(status: MeshStatus): MeshSummary {
  const connected = status.peers.filter((peer) => peer.link !== "none");
  if (status.meshId === null) return { tone: "quiet", short: "On its own", long: null };
  if (!status.online) return { tone: "quiet", short: "Offline", long: null };
  if (connected.length === 0) return { tone: "quiet", short: "Nobody near", long: null };
  if (status.waiting.parked > 0) return { tone: "trouble", short: "Upgrade needed", long: null };
  if (status.converged) {
    const devices = connected.filter((peer) => peer.role === "device");
    const whom = devices.length > 0 ? count(devices.length, "device") : "the hub";
    return {
      tone: "good",
      short: `In step with ${whom}`,
      long: `In step with ${whom}: all hold the same.`,
    };
  }
  if (status.missing > 0)
    return { tone: "busy", short: `${count(status.missing, "change")} to come`, long: null };
  return {
    tone: "busy",
    short: "Comparing notes",
    long: "Comparing notes with the devices in reach.",
  };
}
