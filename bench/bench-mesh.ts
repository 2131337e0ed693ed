/**
 * Replicas of one mesh, without a network: the real signing, log, merge and write path.
 *
 * @module
 */

import type { Schema } from "../src/db/schema.ts";
import type { Storage } from "../src/db/storage.ts";
import { compileSqliteInNode } from "../src/db/wasm-node.ts";
import { chooseEd25519InNode } from "../src/node/ed25519-node.ts";
import { openReplica, type Replica } from "../src/node/replica.ts";
import { systemClock, systemRandom } from "../src/node/system-seams.ts";
import { encodeInvite } from "../src/protocol/genesis.ts";
import { createGenesis } from "../src/signing/genesis.ts";
import { createKeyPair, meshIdOf } from "../src/signing/keys.ts";

export interface BenchMesh {
  /** A new replica on the storage, a member of the mesh. */
  readonly openReplica: (storage: Storage) => Promise<Replica>;
}

export async function createBenchMesh(schema: Schema): Promise<BenchMesh> {
  const ed25519 = await chooseEd25519InNode();
  const wasm = await compileSqliteInNode();
  const founder = await createKeyPair(ed25519, systemRandom.bytes(32));
  const genesis = await createGenesis(ed25519, founder, {
    policy: "open",
    random: systemRandom.bytes(16),
    name: "bench",
  });
  const id = meshIdOf(genesis.bodyBytes);
  const invite = encodeInvite({ genesis, hubs: [] });
  return {
    openReplica: async (storage) => {
      const replica = await openReplica({
        storage,
        wasm,
        schema,
        ed25519,
        clock: systemClock,
        random: systemRandom,
      });
      await replica.bindMesh(id, invite);
      return replica;
    },
  };
}
