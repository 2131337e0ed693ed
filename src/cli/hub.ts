/**
 * `rowmesh hub`: a peer that is always on.
 *
 * @module
 */

import type { Command } from "./command.ts";
import { HUB_HELP, parseHubOptions } from "./hub-options.ts";

export const hubCommand: Command = {
  help: HUB_HELP,
  run: async (args) => {
    const options = parseHubOptions(args);
    // On demand: the network and its native WebRTC take half a second to load.
    const { runHub } = await import("./run-hub.ts");
    return runHub(options);
  },
};
