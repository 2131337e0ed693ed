/** A connection that closes while a stream is being opened throws nothing into the void. */
import { multiaddrConnectionPair } from "@libp2p/utils";
import { yamux } from "@libp2p/yamux";
import { expect, test } from "vitest";
import { yamuxThatEndsQuietly } from "../../src/node/yamux-window-update.ts";

/** What nobody could catch when a stream is opened on a connection that closes in the same moment. */
async function uncaughtWith(muxers: ReturnType<typeof yamux>): Promise<readonly unknown[]> {
  const uncaught: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => uncaught.push(error));
  try {
    const [ours, theirs] = multiaddrConnectionPair();
    const muxer = muxers().createStreamMuxer(ours);
    const opening = Promise.resolve(muxer.createStream()).catch(() => null);
    Object.assign(ours, { writeStatus: "closing" });
    await opening;
    await new Promise((resolve) => void setTimeout(resolve, 20));
    for (const each of [ours, theirs]) each.abort(new Error("done"));
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
  return uncaught;
}

test("yamux alone throws; ours does not", async () => {
  const [thrown] = await uncaughtWith(yamux());
  expect(thrown).toMatchObject({ name: "StreamStateError" });
  expect(await uncaughtWith(yamuxThatEndsQuietly())).toEqual([]);
});
