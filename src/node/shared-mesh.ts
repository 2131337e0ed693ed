/**
 * A mesh that the tabs of an origin share: one of them leads, with the database's worker and the
 * network; for the app it is the same in all (docs/decisions/0015-tabs.md).
 *
 * @module
 */

import type { ChangeEvent, EventsOptions } from "../db/change-events.ts";
import { isMeshError, MeshError } from "../protocol/errors.ts";
import type { StreamStore } from "../seams.ts";
import { createStreams } from "../streams/streams.ts";
import type { Mesh, MeshStatus } from "./api.ts";
import { peerIdOfPublicKey } from "./peer-identity.ts";
import type { Replica } from "./replica.ts";
import { createSharedDatabase } from "./shared-database.ts";
import { lastError, type Seat, type Seats } from "./seats.ts";
import type { Leadership } from "./tab-leadership.ts";

/** @param first the seat that there is */
export function createSharedMesh(
  seats: Seats,
  leadership: Leadership,
  tab: string,
  first: Seat,
): Mesh {
  let replica: Replica = first.replica;
  let lastStatus: MeshStatus = first.mesh.status();
  let lastRole: Seat["role"] = first.role;
  seats.each((seat) => {
    ({ replica } = seat);
    lastRole = seat.role;
    return () => {
      lastStatus = seat.mesh.status();
    };
  });
  const ofSeat = (seat: Seat, told: MeshStatus = seat.mesh.status()): MeshStatus => {
    const now = withTab(told);
    return seat.answers() ? now : noticing(SILENT_LEADER, now);
  };
  const withTab = (status: MeshStatus): MeshStatus => ({ ...status, tab: { role: lastRole } });
  const status = (): MeshStatus => {
    const seat = seats.now();
    return seat === null ? noticing(NO_LEADER, withTab(lastStatus)) : ofSeat(seat);
  };
  const ownSites: Replica["ownSites"] = () => replica.ownSites();
  const store = sharedStore(seats, () => status().meshId);
  const { close: closeStreams, ...streams } = createStreams(store, ownSites);
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    lastStatus = status();
    closeStreams();
    await leadership.close();
  };
  return {
    ...streams,
    db: createSharedDatabase(seats, tab),
    get siteId() {
      return replica.keys.siteId;
    },
    get peerId() {
      return peerIdOfPublicKey(replica.keys.publicKey);
    },
    get publicKey() {
      return replica.keys.publicKey;
    },
    status,
    onStatus: (listener) =>
      seats.each((seat) => seat.mesh.onStatus((now) => listener(ofSeat(seat, now)))),
    events: (options) => sharedEvents(seats, options),
    stateHash: () => seats.reach((seat) => seat.replica.stateHash()),
    invite: (options) => seats.reach(({ mesh }) => mesh.invite(options)),
    join: (link) => seats.reach(({ mesh }) => mesh.join(link)),
    pair: (options) => seats.reach(({ mesh }) => mesh.pair(options)),
    online: async (online) => {
      await seats.reach(({ mesh }) => mesh.online(online));
      leadership.setOnline(online);
    },
    rebuild: () => seats.reach((seat) => seat.replica.rebuild()),
    close: () => (closing ??= close()),
  };
}

const NO_LEADER = "The tab that held the database ended: another takes over.";
const SILENT_LEADER =
  "Another tab holds the database and does not answer: look at it, or close it if this lasts.";

const noticing = (notice: string, status: MeshStatus): MeshStatus => ({
  ...status,
  notices: [notice, ...status.notices],
});

/** For streams: whatever they ask may be asked twice. */
function sharedStore(seats: Seats, mesh: StreamStore["mesh"]): StreamStore {
  const reach = <T>(run: (replica: Replica) => Promise<T>): Promise<T> =>
    seats.reach((seat) => run(seat.replica));
  return {
    mesh,
    vector: () => reach((replica) => replica.vector()),
    ingest: (items) => reach((replica) => replica.ingest(items)),
    read: (range, bytesMax, large) => reach((replica) => replica.read(range, bytesMax, large)),
    readChunks: (request) => reach((replica) => replica.readChunks(request)),
    incoming: () => reach((replica) => replica.incoming()),
    judge: (claims, also) => reach((replica) => replica.judge(claims, also)),
    offer: (mode) => reach((replica) => replica.offer(mode)),
    peerPosition: (name) => reach((replica) => replica.peerPosition(name)),
    keepPeerPosition: (name, position) =>
      reach((replica) => replica.keepPeerPosition(name, position)),
    onChange: (listener) =>
      seats.each(({ replica }) => {
        // What changed between two leaders nobody told.
        listener({ entries: [], broadcasts: [] });
        return replica.onChange(listener);
      }),
  };
}

/** After the last one that was seen, whoever leads. */
async function* sharedEvents(
  seats: Seats,
  { since = 0, signal }: EventsOptions = {},
): AsyncGenerator<ChangeEvent, undefined> {
  let checkpoint = since;
  const next = async (): Promise<Seat | null> => {
    try {
      return seats.now() ?? (await seats.next(signal));
    } catch (error) {
      if (isMeshError(error, "ERR_CLOSED") || isMeshError(error, "ERR_ABORTED")) return null;
      throw error;
    }
  };
  for (let seat = await next(); seat !== null; seat = await next()) {
    try {
      for await (const event of seat.replica.events(withSignal(checkpoint, signal))) {
        ({ checkpoint } = event);
        yield event;
      }
      if (signal?.aborted === true) return;
      // They end with the database: with that of another leader, or with the mesh.
      throw new MeshError("ERR_CLOSED", "the database closed");
    } catch (error) {
      if (await seats.isOver(seat, error)) continue;
      const last = lastError(error);
      if (isMeshError(last, "ERR_CLOSED")) return;
      throw last;
    }
  }
}

const withSignal = (since: number, signal: AbortSignal | undefined): EventsOptions =>
  signal === undefined ? { since } : { since, signal };
