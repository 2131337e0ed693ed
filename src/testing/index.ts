/**
 * `rowmesh/testing`: your app on a simulated mesh (docs/SIMULATION.md). Node only.
 *
 * @module
 */

export {
  createDatabaseDevice,
  type DatabaseDevice,
  type DatabaseDeviceOptions,
  type DatabaseParts,
  type RunningReplica,
  type Write,
  type WriteContext,
} from "./database-device.ts";
export type { FileDevice, Storage, StorageFiles, StorageKind } from "../db/storage.ts";
export type { Drive } from "../node/drive.ts";
export type { Acknowledged, Fate, Ledger } from "./acknowledged.ts";
export { type Fault, FAULTS } from "./faults.ts";
export { type Fleet, type FleetOptions, type SimReport } from "./history.ts";
export { SIM_MESH } from "./identities.ts";
export { type Life } from "./life.ts";
export { createSeededRandom } from "./seeded-random.ts";
export { type SimClock } from "./sim-clock.ts";
export {
  createSimNetwork,
  type BroadcastFaults,
  type LinkQuality,
  type SimNetwork,
  type Traffic,
} from "./sim-network.ts";
export {
  createSimNode,
  type SimCounts,
  type SimDevice,
  type SimNode,
  type SimNodeOptions,
  type SimReplica,
} from "./sim-node.ts";
export { simulate, type SimulateOptions, simulateFleet, SimulationError } from "./simulate.ts";
export { createSimulatedDisk, type DiskImage, type SimulatedDisk } from "./simulated-disk.ts";
export { createWorld, type World } from "./world.ts";
