/** Bundle files: any cut, any order, any damage. */
import { expect, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import { collect, idsOf, openAlone, openMeshes, write } from "./meshes.ts";

const bundleOf = async (
  mesh: Mesh,
  options: Parameters<Mesh["exportBundle"]>[0] = {},
): Promise<Uint8Array> => Uint8Array.from(Buffer.concat(await collect(mesh.exportBundle(options))));

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const twoMeshes = async (): Promise<readonly [Mesh, Mesh]> => {
  const [a, b] = await openMeshes(2);
  return [a, b as Mesh];
};

test("[T10] a bundle carries everything, whatever pieces it is read in, any number of times", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 5; i++) await write(a, `${i}`);
  const bundle = await bundleOf(a, { bytesMax: 300 });
  expect(await b.importBundle(inPieces(bundle, 7))).toEqual({
    complete: true,
    changesets: 5,
    byVerdict: { applied: 5 },
    codes: [],
  });
  expect(await b.stateHash()).toBe(await a.stateHash());
  expect(await b.importBundle([bundle])).toMatchObject({ complete: true, byVerdict: { known: 5 } });
});

test("[T10] bundles in the wrong order wait for one another in the log", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "1");
  const first = await bundleOf(a);
  const since = (await a.inboundStream().position()).bytes;
  await write(a, "2");
  const second = await bundleOf(a, { since });
  expect(await b.importBundle([second])).toMatchObject({ byVerdict: { held: 1 } });
  expect(await idsOf(b)).toBe("");
  expect(await b.importBundle([first])).toMatchObject({ byVerdict: { applied: 1 } });
  expect(await idsOf(b)).toBe("1 2");
});

test("[T11] a bundle cut anywhere imports what is whole and says so", async () => {
  const [a, b] = await twoMeshes();
  for (let i = 0; i < 4; i++) await write(a, `${i}`);
  const bundle = await bundleOf(a, { bytesMax: 1 });
  let imported = 0;
  for (let length = 0; length < bundle.length; length += 13) {
    const report = await b.importBundle([bundle.subarray(0, length)]);
    expect(report.complete).toBe(false);
    expect(report.codes).toEqual(["ERR_NOT_CANONICAL"]);
    expect(report.changesets).toBeGreaterThanOrEqual(imported);
    imported = report.changesets;
  }
  const cut = await b.importBundle([bundle.subarray(0, -1)]);
  expect(cut).toMatchObject({ complete: false, changesets: 4 });
  expect(await idsOf(b)).toBe("0 1 2 3");
});

test("[T11] damage ends in a code; no byte of it reaches the tables", async () => {
  const [a] = await openMeshes(1);
  for (let i = 0; i < 3; i++) await write(a, `${i}`, "right");
  const bundle = await bundleOf(a, { bytesMax: 1 });
  const join = await a.invite();
  const b = await openAlone({ join });
  let noticed = 0;
  for (let at = 0; at < bundle.length; at += 5) {
    const damaged = bundle.slice();
    damaged[at] = (damaged[at] as number) ^ 0x11;
    const { codes } = await b.importBundle([damaged]);
    if (codes.length > 0) noticed++;
  }
  // All but the unsigned hash of a head, and signatures of what is known by its hash already.
  expect(noticed).toBeGreaterThan(bundle.length / 5 / 2);
  const rows = await b.db.query<{ text: string }>("SELECT DISTINCT text FROM note");
  expect(rows.every(({ text }) => text === "right")).toBe(true);
  expect(await b.importBundle([bundle, Uint8Array.of(0)])).toMatchObject({
    complete: false,
    codes: ["ERR_NOT_CANONICAL"],
  });
  const other = await openAlone();
  await other.invite();
  expect(await other.importBundle([bundle])).toMatchObject({
    complete: false,
    changesets: 0,
    codes: ["ERR_WRONG_MESH"],
  });
});

test("[T12] a bundle says what its writer holds, so that the answer is small; writing one moves nothing", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "a".repeat(2_000));
  await bundleOf(a, { to: "b" });
  const there = await bundleOf(a, { to: "b" });
  expect((await bundleOf(a, { to: "b" })).length).toBe(there.length);
  await b.importBundle([there], { from: "a" });
  await write(b, "b");
  const back = await bundleOf(b, { to: "a" });
  expect(back.length).toBeLessThan(600);
  expect(await a.importBundle([back], { from: "b" })).toMatchObject({ byVerdict: { applied: 1 } });
  expect(await idsOf(a)).toBe(await idsOf(b));
  // The answer told that all has arrived.
  const rest = await bundleOf(a, { to: "b" });
  expect(rest.length).toBeLessThan(back.length);
});

test("[T12] a source that fails is the caller's, and the import can go on from what came", async () => {
  const [a, b] = await twoMeshes();
  await write(a, "1");
  const bundle = await bundleOf(a);
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield bundle.subarray(0, -1);
    throw new Error("the stick was pulled");
  }
  await expect(b.importBundle(failing())).rejects.toThrow("the stick was pulled");
  expect(await idsOf(b)).toBe("1");
});
