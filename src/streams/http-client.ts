/**
 * Streams over HTTP, the client's side: one exchange with a server that has
 * `http-handler.ts` mounted, by `fetch`. In browsers and Node.
 *
 * @module
 */

import { ERROR_REMEDIES, MeshError, type MeshErrorCode } from "../protocol/errors.ts";
import type { SiteId } from "../protocol/ids.ts";
import { decodePackage } from "../protocol/stream-packet.ts";
import { countVersions } from "../protocol/version-vector.ts";
import type { IngestOutcome } from "../seams.ts";
import type { SyncOptions, SyncSummary } from "./channel.ts";
import {
  encodeHttpMessage,
  HTTP_CONTENT_TYPE,
  HTTP_MESSAGE_BYTES_MAX,
  type HttpMessage,
} from "./http-message.ts";
import { joinBytes } from "./packet.ts";
import { rangeOfRun } from "./sent-versions.ts";
import type { InboundStream, Streams } from "./streams.ts";

export interface HttpSyncOptions extends SyncOptions {
  /** For the app's access rules. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Takes what the server has and gives what it lacks, once. Cut off at any point, the next call goes
 * on from there.
 * @throws MeshError ERR_NETWORK (no or another answer), ERR_ABORTED, or the code the server refuses with
 */
export async function syncOverHttp(
  streams: Streams,
  url: string | URL,
  options: HttpSyncOptions = {},
): Promise<SyncSummary> {
  const { peer = {}, headers, ...outboundOptions } = options;
  const { signal } = options;
  const post = async (message: HttpMessage): Promise<Uint8Array | null> => {
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { ...headers, "content-type": HTTP_CONTENT_TYPE },
        body: encodeHttpMessage(message),
        ...(signal === undefined ? {} : { signal }),
      });
      return await bodyOf(response);
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      if (signal?.aborted === true)
        throw new MeshError("ERR_ABORTED", "the caller's signal", { cause });
      throw new MeshError("ERR_NETWORK", `no answer from ${String(url)}`, { cause });
    }
  };

  const inbound = streams.inboundStream({ from: peer });
  // First take: it may be our own log, of which the storage here has lost the end.
  const taken = { received: 0, refused: 0 };
  const isMore = await pullAll(inbound, post, taken);
  // Only now: giving may have released what its own position did not count before.
  const since = mustAnswer(await post({ type: "position" }));
  let sent = 0;
  const packages = streams.outboundStream({
    ...outboundOptions,
    to: peer,
    since,
    mode: "once",
  });
  for await (const each of packages) {
    await each.ack(mustAnswer(await post({ type: "push", bytes: each.bytes })));
    sent += each.changesets;
  }
  if (signal?.aborted === true) throw new MeshError("ERR_ABORTED", "the caller's signal");
  // The server knows our branches now, so that it can tell what we lack beside them.
  if (isMore) await pullAll(inbound, post, taken);
  return { sent, ...taken, code: null };
}

/** @returns whether there may be more of authors of whom the server sends what we hold */
async function pullAll(
  inbound: InboundStream,
  post: (message: HttpMessage) => Promise<Uint8Array | null>,
  taken: { received: number; refused: number },
): Promise<boolean> {
  const excluded = new Set<SiteId>();
  let isMore = false;
  for (;;) {
    const { bytes: position } = await inbound.position();
    const bytes = await post({ type: "pull", excludeSites: [...excluded], position });
    if (bytes === null) return isMore;
    const ranges = decodePackage(bytes).runs.map(rangeOfRun);
    const { outcomes } = await inbound.accept(bytes);
    taken.received += outcomes.length;
    taken.refused += outcomes.filter(({ verdict }) => verdict === "refused").length;
    const isNews = outcomes.some(({ verdict }) => verdict !== "known");
    const excludedBefore = excluded.size;
    let at = 0;
    for (const range of ranges) {
      const ofRun = outcomes.slice(at, (at += countVersions([range])));
      const isTaken = ofRun.every(({ verdict }) => verdict !== "refused" && verdict !== "later");
      // Without this the server, which keeps nothing, would send the same for ever.
      if (!isTaken || !isNews) excluded.add(range.site);
    }
    isMore ||= !isNews;
    const isProgress = outcomes.some(({ verdict }) => isProgressing(verdict));
    if (!isProgress && excluded.size === excludedBefore) {
      throw new MeshError("ERR_UNASKED", "the server sends what it was not asked for");
    }
  }
}

const isProgressing = (verdict: IngestOutcome["verdict"]): boolean =>
  verdict !== "known" && verdict !== "refused" && verdict !== "later";

function mustAnswer(bytes: Uint8Array | null): Uint8Array {
  if (bytes === null) throw new MeshError("ERR_NETWORK", "an empty answer");
  return bytes;
}

/** Null: 204. @throws MeshError */
async function bodyOf(response: Response): Promise<Uint8Array | null> {
  if (response.status === 204) return null;
  if (!response.ok) {
    const text = (await response.text()).slice(0, 64);
    const code = Object.hasOwn(ERROR_REMEDIES, text) ? (text as MeshErrorCode) : "ERR_NETWORK";
    throw new MeshError(code, `the server answers ${response.status}`);
  }
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
    length += next.value.length;
    if (length > HTTP_MESSAGE_BYTES_MAX) {
      await reader?.cancel();
      throw new MeshError("ERR_LIMIT", "answer too large");
    }
    chunks.push(next.value);
  }
  return joinBytes(chunks, length);
}
