/**
 * A mesh: one replica, the network while there is one to be on, and what may be said of both.
 * Platforms differ in how they open a replica; `open-mesh-node.ts` and `open-mesh-browser.ts` say how.
 *
 * @module
 */

import { equalBytes } from "../protocol/bytes.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import { decodeInvite, encodeInvite, inviteLink, parseInviteLink } from "../protocol/genesis.ts";
import type { Invite } from "../protocol/genesis.ts";
import { INVITE_ADDRESSES_MAX, NAME_BYTES_MAX } from "../protocol/limits.ts";
import type { Clock, Random } from "../seams.ts";
import { createStreams } from "../streams/streams.ts";
import type { Ed25519 } from "../signing/ed25519.ts";
import { createGenesis, verifyGenesis } from "../signing/genesis.ts";
import type { Mesh, OpenMeshOptions, TabRole } from "./api.ts";
import { openHeldRecord } from "./held-record.ts";
import { keptHubs } from "./libp2p-network.ts";
import { createMeshLink, type HubSettings, type MeshLink } from "./mesh-link.ts";
import { createMeshReport } from "./mesh-report.ts";
import type { OpenPairingChannel } from "./pairing-channel.ts";
import { createPairings } from "./pairing.ts";
import { peerIdOfPublicKey } from "./peer-identity.ts";
import type { Platform } from "./platform.ts";
import type { Replica } from "./replica.ts";

/** After going online with a new key failed. */
const RELINK_MS = 2_000;

export interface MeshParts {
  readonly replica: Replica;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
  readonly random: Random;
  readonly hub: HubSettings | null;
  readonly platform: Platform;
  /** Of this tab, now. */
  readonly tabRole: () => TabRole;
  /** Null where WebRTC is not at hand. */
  readonly openPairingChannel: OpenPairingChannel | null;
}

/** Takes over the replica: it is closed with the mesh, and when this throws. */
export async function openMeshOver(parts: MeshParts, options: OpenMeshOptions): Promise<Mesh> {
  let mesh: Mesh | null = null;
  try {
    assertNotAborted(options.signal);
    mesh = await createMesh(parts, options);
    assertNotAborted(options.signal);
    return mesh;
  } catch (error) {
    await (mesh ?? parts.replica).close();
    throw error;
  }
}

function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "the caller's signal");
}

async function createMesh(parts: MeshParts, options: OpenMeshOptions): Promise<Mesh> {
  const { replica, hub } = parts;
  let wanted: "online" | "offline" = (options.network ?? "on") === "on" ? "online" : "offline";
  const held = await openHeldRecord(replica, () => link.heldElsewhere());
  const link: MeshLink = createMeshLink({
    ...parts,
    ...options,
    heldBefore: held.before,
    changed: () => {
      report.changed();
      held.changed();
    },
  });
  const report = await createMeshReport({ ...parts, link });

  const { close: closeStreams, ...streams } = createStreams(replica, replica.ownSites);
  let turn: Promise<void> = Promise.resolve();
  let closing: Promise<void> | null = null;

  /** Whoever binds a mesh looks whether there is one: one after another. */
  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = turn.then(() => {
      if (closing !== null) throw new MeshError("ERR_CLOSED", "the mesh is closed");
      return run();
    });
    turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  async function join(text: string): Promise<void> {
    try {
      await joinInvite(parseInviteLink(text));
    } catch (error) {
      // Another mesh's link is no bad one.
      if (isMeshError(error, "ERR_INVITE_INVALID") || isMeshError(error, "ERR_SIGNATURE_INVALID")) {
        report.refused(error.code);
      }
      throw error;
    }
  }

  async function joinInvite(invite: Invite): Promise<void> {
    const before = replica.binding();
    await bind(parts, invite);
    if (before === null) report.joined();
    // A further tab opens with the link that the first one came with: nothing is to be dialled anew.
    const isNews = before === null || !equalBytes(before.invite, replica.binding()?.invite ?? NONE);
    if (wanted === "online") await (isNews ? link.again() : link.up());
    await report.refresh();
  }

  async function found(): Promise<void> {
    await foundMesh(parts, hub?.meshName ?? options.deviceName ?? options.name);
    if (wanted === "online") await link.up();
    await report.refresh();
  }

  async function goOnline(): Promise<void> {
    wanted = "online";
    await link.up();
    await report.refresh();
  }

  const pairings = createPairings({
    ...parts,
    keys: () => replica.keys,
    mesh: {
      id: replica.mesh,
      invite: () => encodeInvite(inviteOf(replica, [])),
      join: (invite) => inTurn(() => joinInvite(invite)),
      found: () =>
        inTurn(async () => {
          if (replica.binding() !== null) return;
          await found();
          report.joined();
        }),
    },
    goOnline,
    adopt: link.adopt,
    nameOf: (peer) => report.now().peers.find(({ peerId }) => peerId === peer)?.name ?? null,
  });

  let relinking: ReturnType<typeof setTimeout> | undefined;

  /** The peer id is made of the key: others meet this device anew. A hub's port may not be free yet. */
  function relink(): void {
    inTurn(async () => {
      if (wanted === "online") await link.again();
      await report.refresh();
    }).catch(() => {
      if (closing === null) relinking = setTimeout(relink, RELINK_MS);
    });
  }

  const stopKeys = replica.onNewKey(relink);

  async function close(): Promise<void> {
    stopKeys();
    closeStreams();
    pairings.close();
    await link.close();
    clearTimeout(relinking);
    await held.close();
    report.stop();
    await replica.close();
  }

  try {
    if (options.join !== undefined) await join(options.join);
    else if (hub !== null && replica.binding() === null) await found();
    else if (wanted === "online") await link.up();
  } catch (error) {
    await link.close();
    await held.close();
    report.stop();
    throw error;
  }

  return {
    ...streams,
    db: replica.db,
    get siteId() {
      return replica.keys.siteId;
    },
    get peerId() {
      return peerIdOfPublicKey(replica.keys.publicKey);
    },
    get publicKey() {
      return replica.keys.publicKey;
    },
    status: report.now,
    onStatus: report.subscribe,
    events: replica.events,
    stateHash: replica.stateHash,
    invite: ({ baseUrl = DEFAULT_BASE_URL } = {}) =>
      inTurn(async () => {
        if (replica.binding() === null) await found();
        const own = hub === null ? [] : link.addresses();
        return inviteLink(inviteOf(replica, [...own, ...link.hubAddresses()]), baseUrl);
      }),
    join: (text) => inTurn(() => join(text)),
    pair: pairings.open,
    online: async (online) => {
      if (online) return goOnline();
      wanted = "offline";
      await link.down();
      await report.refresh();
    },
    rebuild: replica.rebuild,
    close: () => (closing ??= close()),
  };
}

const NONE = new Uint8Array();

/** A link is only a carrier of its fragment; apps pass their own page. */
const DEFAULT_BASE_URL = "https://rowmesh.invalid/";

/** The newer invite's hubs first; those known before stay, as long as there is room. */
async function bind({ replica, ed25519 }: MeshParts, invite: Invite): Promise<void> {
  const { mesh } = await verifyGenesis(ed25519, invite.genesis);
  assertHubs(invite.hubs);
  const known = replica.binding();
  const hubs = known === null ? [] : decodeInvite(known.invite).hubs;
  await replica.bindMesh(mesh, encodeInvite(withHubs(invite, [...invite.hubs, ...hubs])));
}

/** The founder signed the genesis and not the addresses; kept, a damaged one would fail every opening. */
function assertHubs(hubs: readonly string[]): void {
  try {
    keptHubs(hubs);
  } catch (cause) {
    throw new MeshError("ERR_INVITE_INVALID", "the address of a hub", { cause });
  }
}

/** Binds drafts to a mesh of our own. */
async function foundMesh(parts: MeshParts, name: string): Promise<void> {
  const { ed25519, replica, random } = parts;
  const body = { policy: "open", random: random.bytes(16), name } as const;
  const genesis = await createGenesis(ed25519, replica.keys, body);
  await bind(parts, { genesis, hubs: [] });
}

/** What a newcomer needs. `addresses`: of this hub and of those it is linked with; then come those we were told of. */
function inviteOf(replica: Replica, addresses: readonly string[]): Invite {
  const binding = replica.binding();
  if (binding === null) throw new MeshError("ERR_NO_MESH", "no mesh was bound");
  const known = decodeInvite(binding.invite);
  return withHubs(known, [...addresses, ...known.hubs]);
}

const withHubs = (invite: Invite, hubs: readonly string[]): Invite => ({
  ...invite,
  hubs: [...new Set(hubs)].slice(0, INVITE_ADDRESSES_MAX),
});

const NAME = /^[a-z0-9_-]{1,64}$/;

/** @throws MeshError ERR_OPTION_INVALID naming the option and the fix. */
export function checkOptions({ name, deviceName = "" }: OpenMeshOptions): void {
  if (!NAME.test(name)) {
    throw new MeshError("ERR_OPTION_INVALID", `name "${name}" must match [a-z0-9_-]{1,64}`);
  }
  if (new TextEncoder().encode(deviceName).length > NAME_BYTES_MAX) {
    throw new MeshError("ERR_OPTION_INVALID", `deviceName exceeds ${NAME_BYTES_MAX} bytes`);
  }
}
