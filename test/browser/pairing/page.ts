/** Two apps in one page, driven by name: an honest one as users get it, and a hostile one. */
import { type Mesh, openMesh, type Pairing } from "rowmesh";
import { chooseEd25519 } from "../../../src/node/ed25519-webcrypto.ts";
import { createLibp2pNetwork, DEVICE_RELAY_LIMITS } from "../../../src/node/libp2p-network.ts";
import { openPairingChannel, type PairingChannel } from "../../../src/node/pairing-channel.ts";
import {
  decodePairingCode,
  encodePairingCode,
  pairingBytes,
  pairingText,
} from "../../../src/node/pairing-code.ts";
import { agree, otherIsReady, sayReady } from "../../../src/node/pairing-handshake.ts";
import { peerIdOfPublicKey } from "../../../src/node/peer-identity.ts";
import { systemClock, systemRandom } from "../../../src/node/system-seams.ts";
import { encodeInvite, type Invite } from "../../../src/protocol/genesis.ts";
import { meshId } from "../../../src/protocol/ids.ts";
import { createGenesis } from "../../../src/signing/genesis.ts";
import { createKeyPair, type KeyPair } from "../../../src/signing/keys.ts";

const SCHEMA = {
  version: 1,
  tables: ["CREATE TABLE tag (id TEXT PRIMARY KEY NOT NULL) STRICT"],
};

const phone = {
  mesh: null as Mesh | null,
  open: async (network: "on" | "off"): Promise<void> => {
    phone.mesh = await openMesh({ name: "pair", schema: SCHEMA, storage: "memory", network });
  },
  opened: (): Mesh => {
    if (phone.mesh === null) throw new RangeError("open first");
    return phone.mesh;
  },
  /** The one whose code is on the screen. */
  pairing: null as Pairing | null,
  shown: (): Pairing => {
    if (phone.pairing === null) throw new RangeError("show a code first");
    return phone.pairing;
  },
  /** What a promise ended in: its value, or the code (else the name) of its error. */
  outcome: (promise: Promise<unknown>): Promise<unknown> =>
    promise.catch((error: unknown) => {
      const { code, name, message } = error as { code?: string; name: string; message: string };
      return code ?? `${name}: ${message}`;
    }),
};

export type Attack =
  | "silent"
  | "text"
  | "garbage"
  | "flood"
  | "giant"
  | "another's proof"
  | "giant invite"
  | "invite that nobody signed"
  | "garbage for libp2p"
  | "text for libp2p"
  | "another key in Noise";

/** Resolves when the other device begins to speak libp2p. */
function asked({ messages, data }: PairingChannel): Promise<void> {
  sayReady(messages);
  return new Promise((resolve) => {
    data.addEventListener("message", () => resolve(), { once: true });
  });
}

let keys: KeyPair;
let code: Uint8Array;
let channel: PairingChannel;

const hostile = {
  /** Bytes of each message that the other device sent, as far as they were read. */
  heard: [] as number[],
  /** A code under a key that is before or after the other device's. */
  show: async (side: "before" | "after", other: string): Promise<string> => {
    const ed25519 = await chooseEd25519();
    do keys = await createKeyPair(ed25519, systemRandom.bytes(32));
    while (peerIdOfPublicKey(keys.publicKey) < other !== (side === "before"));
    channel = await openPairingChannel();
    code = encodePairingCode({ publicKey: keys.publicKey, meshTag: null, route: channel.route });
    hostile.heard = [];
    return pairingText(code);
  },
  /** Rejects when the other device ends it. */
  meet: async (text: string, attack: Attack): Promise<"tried" | "linked"> => {
    const otherCode = pairingBytes(text);
    const { publicKey: otherKey, route } = decodePairingCode(otherCode);
    const other = peerIdOfPublicKey(otherKey);
    const isFirst = peerIdOfPublicKey(keys.publicKey) < other;
    await channel.connect(route, isFirst ? "passive" : "active");
    const { messages } = channel;
    const hear = async (): Promise<void> => {
      hostile.heard.push((await messages.receive()).length);
    };
    const send = (type: number, body: Uint8Array): void =>
      messages.send(Uint8Array.of(type, ...body));
    const ed25519 = await chooseEd25519();
    /** Tells the truth about the key, and lies in what it says of its mesh. */
    const agreeWith = (invite: Uint8Array, id: string | null): Promise<void> =>
      agree({
        ed25519,
        messages,
        secretKey: keys.secretKey,
        ownCode: code,
        otherCode,
        otherKey,
        founds: isFirst,
        mesh: {
          id: () => (id === null ? null : meshId(id)),
          invite: () => invite,
          found: () => Promise.resolve(),
          join: () => Promise.resolve(),
        },
      });
    const unsigned = async (): Promise<Invite> => {
      const body = { policy: "open", random: new Uint8Array(16), name: "x" } as const;
      const genesis = await createGenesis(ed25519, keys, body);
      return { genesis: { ...genesis, signature: new Uint8Array(64) }, hubs: [] };
    };
    switch (attack) {
      case "silent":
        await hear();
        break;
      case "text":
        // The types know better than to send one.
        messages.send("hello" as unknown as Uint8Array<ArrayBuffer>);
        break;
      case "garbage":
        messages.send(systemRandom.bytes(65).fill(9, 0, 1));
        break;
      case "flood":
        for (let i = 0; i < 1_000; i++) send(1, systemRandom.bytes(64));
        break;
      case "giant":
        messages.send(new Uint8Array(200_000).fill(1));
        break;
      case "another's proof": {
        const stranger = await createKeyPair(ed25519, systemRandom.bytes(32));
        send(1, await ed25519.sign(new Uint8Array(81), stranger.secretKey));
        await hear();
        await hear();
        break;
      }
      case "giant invite":
        await agreeWith(new Uint8Array(200_000), "ab".repeat(32));
        break;
      case "invite that nobody signed":
        await agreeWith(encodeInvite(await unsigned()), "ab".repeat(32));
        break;
      case "garbage for libp2p":
      case "text for libp2p":
        await agreeWith(new Uint8Array(0), null);
        // What comes before the other device listens is lost.
        if (isFirst) await otherIsReady(messages);
        else await asked(channel);
        if (attack === "text for libp2p") channel.data.send("hello");
        else channel.data.send(systemRandom.bytes(60_000));
        break;
      case "another key in Noise": {
        await agreeWith(new Uint8Array(0), null);
        const network = await createLibp2pNetwork({
          secretKey: systemRandom.bytes(32),
          meshId: meshId("ab".repeat(32)),
          role: "device",
          hubs: [],
          gossip: "off",
          listen: [],
          certificate: null,
          discovery: "off",
          relay: DEVICE_RELAY_LIMITS,
          clock: systemClock,
          random: systemRandom,
        });
        await network.start({
          peerUp: () => undefined,
          peerDown: () => undefined,
          frame: () => Promise.resolve(),
          broadcast: () => Promise.resolve("ignore"),
        });
        const { connection, data } = channel;
        const openedBy = isFirst ? "us" : "them";
        if (isFirst) await otherIsReady(messages);
        const adopted = network.adopt(
          { connection, data, peer: other, openedBy },
          AbortSignal.timeout(10_000),
        );
        if (!isFirst) sayReady(messages);
        await adopted.finally(network.stop);
        return "linked";
      }
    }
    return "tried";
  },
};

type Phone = typeof phone;
type Hostile = typeof hostile;

declare global {
  var phone: Phone;
  var hostile: Hostile;
}
globalThis.phone = phone;
globalThis.hostile = hostile;
