/** Streams in Chromium: packages and positions cross to the workers and back. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Chromium, openChromium, openSite, type Site } from "../fixtures/chromium.ts";

vi.setConfig({ testTimeout: 60_000 });

let site: Site;
let chromium: Chromium;

beforeAll(async () => {
  site = await openSite(join(import.meta.dirname, "streams"));
  chromium = await openChromium();
}, 60_000);

afterAll(async () => {
  await chromium?.close();
  await site?.close();
}, 60_000);

test("[T13] two workers over a MessagePort; [T12] a bundle as a Blob; positions outlive both", async () => {
  const page = await chromium.context.newPage();
  await page.goto(site.url);
  await page.waitForFunction(() => "streams" in globalThis);
  const seen = await page.evaluate(async () => {
    const { open, write, untilIds, syncOverMessagePort } = globalThis.streams;
    let a = await open("a");
    const link = await a.invite();
    let b = await open("b", link);
    await write(a, "1");
    await write(b, "2");
    const { port1, port2 } = new MessageChannel();
    const session = syncOverMessagePort(a, port1, { peer: "b" });
    const other = syncOverMessagePort(b, port2, { peer: "a" });
    const met = await Promise.all([untilIds(a, 2), untilIds(b, 2)]);
    // The rows are there before the receipt for them is back.
    const unacknowledged = async (): Promise<number[]> => {
      const counts: number[] = [];
      for await (const { changesets } of a.outboundStream({ to: "b", mode: "once" })) {
        counts.push(changesets);
      }
      return counts;
    };
    while ((await unacknowledged()).length > 0) await new Promise((next) => setTimeout(next, 10));
    await session.close();
    const { received, code } = await other.ended;

    await a.close();
    await b.close();
    a = await open("a");
    b = await open("b");
    await write(a, "3");
    const counts = await unacknowledged();
    const parts: BlobPart[] = [];
    for await (const part of a.exportBundle({ to: "b" })) parts.push(new Uint8Array(part));
    const stream = new Blob(parts).stream() as unknown as AsyncIterable<Uint8Array>;
    const report = await b.importBundle(stream, { from: "a" });
    const ids = await untilIds(b, 3);
    const same = (await a.stateHash()) === (await b.stateHash());
    await a.close();
    await b.close();
    return { met, received, code, counts, report, ids, same };
  });
  await page.close();
  expect(seen).toEqual({
    met: ["1 2", "1 2"],
    received: 1,
    code: null,
    counts: [1],
    report: { complete: true, changesets: 1, byVerdict: { applied: 1 }, codes: [] },
    ids: "1 2 3",
    same: true,
  });
});
