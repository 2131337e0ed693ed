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
  /** A sentence for the mesh screen. */
  readonly long: string;
}

export function summarise(status: MeshStatus): MeshSummary {
  const devices = status.peers.filter((peer) => peer.role === "device" && peer.link !== "none");
  const connected = status.peers.filter((peer) => peer.link !== "none");
  if (status.meshId === null) {
    return {
      tone: "quiet",
      short: "On its own",
      long: "This notebook belongs to no mesh yet. Invite another device, or join one; what you wrote comes along.",
    };
  }
  if (!status.online) {
    return {
      tone: "quiet",
      short: "Offline",
      long: "This device is offline by choice. Write on: everything is kept here and sent when you come back.",
    };
  }
  if (connected.length === 0) {
    return {
      tone: "quiet",
      short: "Nobody near",
      long: "No other device is in reach. Everything you write is kept and sent when one appears.",
    };
  }
  if (status.waiting.parked > 0) {
    return {
      tone: "trouble",
      short: "Upgrade needed",
      // The first notice says how many changes, and whose.
      long: status.notices[0] ?? "Some changes wait for a newer version of this app.",
    };
  }
  if (status.converged) {
    const whom = devices.length > 0 ? count(devices.length, "device") : "the hub";
    return {
      tone: "good",
      short: `In step with ${whom}`,
      long: `In step with ${whom}: all hold the same.`,
    };
  }
  if (status.missing > 0) {
    return {
      tone: "busy",
      short: `${count(status.missing, "change")} to come`,
      long: `Catching up: ${count(status.missing, "change")} known to others ${status.missing === 1 ? "is" : "are"} not here yet.`,
    };
  }
  return {
    tone: "busy",
    short: "Comparing notes",
    long: "Comparing notes with the devices in reach.",
  };
}
