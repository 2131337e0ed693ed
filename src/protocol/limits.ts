/**
 * Every limit on remote input, with its unit in the name and its reason beside it.
 *
 * Limits of the *format* decide what is valid. They belong to `FORMAT_VERSION` and never change
 * within it, or replicas of different releases would disagree. Limits of *resources* may delay an
 * authentic changeset, never refuse it; they may change with any release.
 *
 * @module
 */

// ── Format ────────────────────────────────────────────────────────────────────────────────────

/** First byte of every header, genesis and hello. */
export const FORMAT_VERSION = 1;
/** A changeset's encoded payload. Larger transactions are refused at the writer. */
export const PAYLOAD_BYTES_MAX: number = 64 * 1024 * 1024;
/** Payloads above one chunk are signed as a list of chunk hashes, so that each is verifiable alone. */
export const CHUNK_BYTES: number = 64 * 1024;
/** Chunks of the largest payload: their hashes take 32 KiB. */
export const CHUNKS_MAX: number = PAYLOAD_BYTES_MAX / CHUNK_BYTES;
/** More causes than this are folded into a row-less changeset first. */
export const DEPENDENCIES_MAX = 64;
/** Bytes of a cause's header hash that a dependency carries: enough to tell the branches of a fork. */
export const DEPENDENCY_HASH_BYTES = 8;
/** A header: 64 dependencies of 31 bytes, a key and the fixed fields, rounded up. */
export const HEADER_BYTES_MAX: number = 4 * 1024;
/** Versions count one author's transactions: 2^48 is 9,000 years of 1,000 a second. */
export const VERSION_MAX: number = 2 ** 48;
/** cr-sqlite's seq is a C int; 64 MiB hold fewer rows than this anyway. */
export const ROWS_MAX: number = 2 ** 24;
/** One value. cr-sqlite copies values several times through a 2 GB heap. */
export const VALUE_BYTES_MAX: number = 1024 * 1024;
/** All key columns of one row, packed. */
export const PRIMARY_KEY_BYTES_MAX: number = 4 * 1024;
/** Key columns and cells of one table; cr-sqlite breaks beyond 63 columns. */
export const COLUMNS_MAX = 63;
/** Reading changes costs 0.14 ms with 1 table, 2 ms with 50, 15 ms with 200, nothing works at 500. */
export const TABLES_MAX = 50;
/** Beyond it clocks could be pushed to where SQLite's int64 wraps (2^63). */
export const CLOCK_MAX: number = 2 ** 40;
/** Wall clock in the payload, for people only: the year 10889. */
export const WALL_CLOCK_MS_MAX: number = 2 ** 48;
export const SCHEMA_VERSION_MAX: number = 2 ** 31 - 1;
/** A mesh's or a device's name, UTF-8. */
export const NAME_BYTES_MAX = 128;
/** Hub addresses in an invite. */
export const INVITE_ADDRESSES_MAX = 16;
export const ADDRESS_BYTES_MAX = 512;
/** A join link, in characters; larger ones are not even decoded. */
export const INVITE_CHARS_MAX: number = 16 * 1024;

// ── Resources ─────────────────────────────────────────────────────────────────────────────────

/** One frame on the sync stream. libp2p over WebRTC moves 16–256 KiB equally fast. */
export const FRAME_BYTES_MAX: number = 256 * 1024;
/** One gossiped changeset; larger ones are pulled. gossipsub has no back-pressure: keep it small. */
export const BROADCAST_BYTES_MAX: number = 16 * 1024;
/** One run of a stream in memory: one changeset of the largest payload, its header, and room. */
export const RUN_BYTES_MAX: number = PAYLOAD_BYTES_MAX + 64 * 1024;
/** Changesets of one run. */
export const RUN_CHANGESETS_MAX = 4_096;
/** Entries of one vector frame (about 60 bytes each); a larger vector takes several frames. */
export const VECTOR_ENTRIES_MAX = 2_048;
/** Authors × streams one peer may claim to know of; beyond it the rest of its claim is ignored. */
export const VECTOR_ENTRIES_PER_PEER_MAX = 65_536;
/** Ranges beyond a gap in one vector entry. */
export const BEYOND_RANGES_MAX = 32;
/** Ranges of one request. */
export const WANT_RANGES_MAX = 64;
/** Bytes one request may ask for, and so what may be on the way to one receiver. */
export const WANT_BYTES_MAX: number = 1024 * 1024;
/** Chunks one request may ask for, 512 KiB: what a cut of the link costs. */
export const WANT_CHUNKS_MAX = 8;
/** Neighbours told of in one frame. */
export const NEIGHBOURS_MAX = 256;
/** Runs waiting to be verified and merged, over all peers, in bytes. Beyond it: ask again later. */
export const INGEST_BYTES_MAX: number = 2 * RUN_BYTES_MAX;
/** Authentic changesets kept beyond a gap, per author. The rest is asked for again. */
export const BEYOND_CHANGESETS_MAX = 8_192;
/** Large changesets of which chunks are kept before all are there. */
export const INCOMING_MAX = 64;
/** Of one author: a hostile one can sign any number and never deliver; a forked one has two to bring. */
export const INCOMING_PER_AUTHOR_MAX = 2;
/** What all of them may hold on disk together. */
export const INCOMING_BYTES_MAX: number = 4 * PAYLOAD_BYTES_MAX;
/** One that grew by a share within this time does not give way to another. */
export const INCOMING_STALLED_MS = 60_000;
/** Shares of one: whole within an hour. Four of 64 MiB that got a chunk a minute would keep out all others. */
export const INCOMING_SHARES = 60;
/** Authors one replica keeps a log of. */
export const AUTHORS_MAX = 65_536;
/** Authors unknown here that one peer may claim to know of; the rest of its claim waits. */
export const NEW_AUTHORS_CLAIMED_MAX = 4_096;
/** New authors taken at once from hearsay, and as many who come themselves; then one in 6 s each. */
export const NEW_AUTHORS_BURST = 4_096;
/** Filling AUTHORS_MAX takes four days, so that people can notice. */
export const NEW_AUTHOR_MS = 6_000;

// ── Links ─────────────────────────────────────────────────────────────────────────────────────

/** Cost of frames sent and not yet handled by the receiver, per link: its memory, and its window. */
export const LINK_WINDOW_BYTES: number = 1024 * 1024;
/** Charged to the window on top of a frame's bytes, so that a million empty-ish frames do not fit. */
export const FRAME_COST_BYTES = 64;
/** Frames waiting for the window, per link; a sender waits beyond it. */
export const LINK_QUEUE_BYTES_MAX: number = 512 * 1024;
/** A frame that is not whole this long after its first byte closes the link: 256 KiB at 100 kbit/s. */
export const FRAME_TIMEOUT_MS = 30_000;
/** Gossiped messages whose verdict is awaited, over all peers; more are ignored and pulled later. */
export const BROADCAST_PENDING_MAX = 256;
/** gossipsub's queue towards one peer; beyond it the stream is reset and opened again. */
export const BROADCAST_QUEUE_BYTES_MAX: number = 2 * 1024 * 1024;
/** Who has not said hello this long after it was linked is dropped. */
export const HELLO_TIMEOUT_MS = 30_000;
/** Connections without a stream are closed after this long: the place is somebody else's. */
export const IDLE_CONNECTION_MS = 30_000;
/** What one peer may tell us unasked, in units of `gossip/allowance.ts`; and as many every second. */
export const TALK_BURST = 4_096;
export const TALK_PER_SECOND = 128;
/** Digests in a row that contradict the peer's own vector: an honest one has none. */
export const CONTRADICTIONS_MAX = 8;
/** Read for one peer a second time: this much, and twice what it got for the first time. */
export const REPEATS_BYTES: number = 8 * 1024 * 1024;
/** Beyond that it gets one read (64 KiB) in so long. */
export const REPEAT_MS = 1_000;
/** Bad frames forgiven before a peer is dropped. One is forgiven every minute. */
export const STRIKES_MAX = 8;
/** Peers whose bad frames are remembered. */
export const STANDINGS_MAX = 1_024;
/** Peers remembered as possible links, and those who told of one of them. */
export const CANDIDATES_MAX = 512;
export const CANDIDATE_RELAYS_MAX = 8;
/** Connections to a hub's WebSocket port, open or asking: as many as libp2p keeps, and some to refuse. */
export const WEBSOCKETS_MAX = 1_024;
/** One WebSocket message: Noise's are 64 KiB at most. Each connection may make the hub hold one. */
export const WEBSOCKET_MESSAGE_BYTES_MAX: number = 256 * 1_024;
/** For a connection there to ask for a WebSocket: browsers do at once. */
export const WEBSOCKET_REQUEST_MS = 10_000;
/** Peers that answered on the LAN by multicast, of which anybody there can invent any number. */
export const FOUND_PEERS_MAX = 32;
/** Addresses that one of them is dialled at, each for up to 4 s: a machine has a few networks. */
export const FOUND_ADDRESSES_MAX = 8;
/** Addresses of another hub that go into an invite: two networks, three transports. */
export const HUB_ADDRESSES_MAX = 6;

// ── Pairing ───────────────────────────────────────────────────────────────────────────────────

/** One code: 210 characters of QR's alphanumeric set, which version 8 holds with error correction M. */
export const PAIRING_CODE_BYTES_MAX = 140;
/** Characters that are even looked at: people paste codes with spaces and line breaks. */
export const PAIRING_CODE_CHARS_MAX = 1_024;
/** Open at once; each holds sockets, and nobody reads more than one code at a time. */
export const PAIRINGS_MAX = 4;
/** What nobody completed is given up. */
export const PAIRING_MS: number = 10 * 60_000;
/** From the first byte to a link that carries data: longer than a busy phone takes. */
export const PAIRING_HANDSHAKE_MS = 30_000;
/** One message before libp2p takes over; an invite is the largest. */
export const PAIRING_MESSAGE_BYTES_MAX: number = 16 * 1024;
/** Messages that wait to be read: an honest peer sends four in all. */
export const PAIRING_MESSAGES_MAX = 8;

// ── Streams ───────────────────────────────────────────────────────────────────────────────────

/** What a package holds unless the caller says otherwise; a larger changeset travels alone. */
export const PACKAGE_BYTES: number = 256 * 1024;
/** One run with the largest changeset, and the package around it. */
export const PACKAGE_BYTES_MAX: number = RUN_BYTES_MAX + 64 * 1024;
/** Runs of one package: as many authors may have written little. */
export const PACKAGE_RUNS_MAX = 4_096;
/** Taken of one author's log before the next author has a turn. */
export const PACKAGE_SHARE_BYTES: number = 64 * 1024;
/** One position: the entries of the largest vector, about 60 bytes each, and room. */
export const POSITION_BYTES_MAX: number = 8 * 1024 * 1024;
/** The name under which a position is kept, UTF-8. */
export const PEER_NAME_BYTES_MAX = 128;
/** Packages sent over one channel and not yet answered: the receiver's memory. */
export const CHANNEL_PACKAGES_MAX = 2;
