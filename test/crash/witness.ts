/**
 * A peer in this process that never dies: it syncs with replicas that do, writes meanwhile, and
 * notes what they release and what they acknowledge, as it crosses the wire.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Mesh } from "../../src/node/api.ts";
import { chooseEd25519InNode } from "../../src/node/ed25519-node.ts";
import { openMesh } from "../../src/node/open-mesh-node.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import { meshId } from "../../src/protocol/ids.ts";
import { decodePackage, decodePosition } from "../../src/protocol/stream-packet.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import type { OutboundPackage, Streams } from "../../src/streams/streams.ts";
import { syncOverWebSocket } from "../../src/streams/web-socket.ts";
import type { Ledger, Releases } from "./ledger.ts";
import { NOTES } from "./page/notes.ts";
import type { Said } from "./page/page.ts";

/** A replica that is killed, as the witness knows it. */
export interface Victim {
  readonly storage: "opfs" | "indexeddb";
  readonly ledger: Ledger;
  /** Once it said. */
  site: string | null;
  checkpoint: number;
  /** Entries, in this life. */
  said: number;
  /** What its page ended with, other than a kill. */
  readonly failures: string[];
}

export interface Witness {
  readonly mesh: Mesh;
  readonly join: string;
  /** Of the victims: `${url}/opfs`. */
  readonly url: string;
  /** Changesets of the victims that it refused. */
  readonly refused: () => number;
  readonly close: () => Promise<void>;
}

export async function openWitness(
  victims: readonly Victim[],
  releases: Releases,
): Promise<Witness> {
  const mesh = await openMesh({
    name: "witness",
    schema: NOTES,
    storage: "memory",
    network: "off",
  });
  const join = await mesh.invite();
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  let refused = 0;
  const observe = await createObserver(mesh, releases);
  server.on("connection", (socket, { url = "" }) => {
    const [, storage, what] = url.split("/");
    const victim = victims.find((each) => each.storage === storage);
    if (victim === undefined) throw new RangeError(url);
    if (what === "said") {
      listen(socket, victim, mesh);
      return;
    }
    const session = syncOverWebSocket(observe(victim.ledger), socket, { peer: victim.storage });
    void session.ended.then((summary) => {
      refused += summary.refused;
    });
  });
  return {
    mesh,
    join,
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    refused: () => refused,
    close: async () => {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
      await mesh.close();
    },
  };
}

function listen(socket: WebSocket, victim: Victim, mesh: Mesh): void {
  const { ledger } = victim;
  victim.said = 0;
  socket.on("message", (data: Buffer) => {
    const said = JSON.parse(data.toString()) as Said;
    switch (said.type) {
      case "opened":
        victim.site = said.site;
        return;
      case "failed":
        victim.failures.push(said.message);
        return;
      case "rows":
        for (const id of said.ids) ledger.acknowledgeRow(id);
        victim.said++;
        // What a victim has to merge while it writes.
        if (victim.said % 4 === 0) void writeTally(mesh, victim.said);
        return;
      case "version":
        ledger.acknowledgeVersion(said.site, said.version, said.hash);
        victim.checkpoint = said.checkpoint;
        return;
    }
  });
}

const writeTally = (mesh: Mesh, n: number): Promise<unknown> =>
  mesh.db.exec("INSERT INTO tally VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 10", [
    String(n % 5),
  ]);

/** The witness' streams, with an ear at them. */
async function createObserver(
  mesh: Mesh,
  releases: Releases,
): Promise<(ledger: Ledger) => Streams> {
  const ed25519 = await chooseEd25519InNode();
  const id = meshId(mesh.status().meshId ?? "");
  const noteReleases = async (packet: Uint8Array): Promise<void> => {
    for (const run of decodePackage(packet).runs) {
      const { verified } = await verifyRun(ed25519, decodeRun(run), id);
      for (const { header, headerHash } of verified) {
        releases.add(header.site, header.version, headerHash);
      }
    }
  };
  return (ledger) => ({
    outboundStream: async function* outboundStream(options) {
      for await (const each of mesh.outboundStream(options)) {
        yield {
          ...each,
          ack: async (receipt) => {
            const { entries } = decodePosition(receipt as Uint8Array);
            for (const { site, head } of entries) ledger.acknowledgeHead(site, head);
            await each.ack(receipt);
          },
        } satisfies OutboundPackage;
      }
      return undefined;
    },
    inboundStream: (options) => {
      const inbound = mesh.inboundStream(options);
      return {
        ...inbound,
        accept: async (packet) => {
          await noteReleases(packet as Uint8Array);
          return inbound.accept(packet);
        },
      };
    },
  });
}
