/** Copies of one profile that write on, and streams between them: every branch reaches everyone. */
import { cpSync } from "node:fs";
import { expect, test } from "vitest";
import type { Mesh } from "../../src/node/api.ts";
import type { Random } from "../../src/seams.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";
import { collect, idsOf, openAlone, write } from "./meshes.ts";

/** A device: closed and opened again from its directory. */
interface Device {
  readonly name: string;
  directory: string;
  mesh: Mesh;
}

const open = (directory: string): Promise<Mesh> => openAlone({ storage: { directory } });

async function restart(device: Device): Promise<void> {
  await device.mesh.close();
  device.mesh = await open(device.directory);
}

/** A copy of the profile, taken while it is off. */
async function copy(device: Device, name: string): Promise<Device> {
  const directory = temporaryDirectory();
  await device.mesh.close();
  cpSync(device.directory, directory, { recursive: true });
  device.mesh = await open(device.directory);
  return { name, directory, mesh: await open(directory) };
}

const shuffle = <T>(items: readonly T[], random: Random): T[] =>
  items
    .map((item) => ({ item, place: random.below(1_000_000) }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);

/** Some packages are lost on the way, and some receipts on the way back. */
async function exchange(from: Device, to: Device, random: Random): Promise<void> {
  const inbound = to.mesh.inboundStream(random.below(2) === 0 ? { from: from.name } : {});
  const hasPosition = random.below(2) === 0;
  const packages = await collect(
    from.mesh.outboundStream({
      mode: "once",
      to: to.name,
      bytesMax: 1 + random.below(2) * 2_000,
      ...(hasPosition ? { since: (await inbound.position()).bytes } : {}),
    }),
  );
  for (const each of shuffle(packages, random)) {
    if (random.below(4) === 0) continue;
    const { receipt } = await inbound.accept(random.below(2) === 0 ? each.bytes : each.text());
    if (random.below(3) === 0) continue;
    await each.ack(random.below(3) === 0 ? undefined : receipt.bytes);
  }
}

async function carryBundle(from: Device, to: Device, random: Random): Promise<void> {
  const chunks = await collect(from.mesh.exportBundle({ to: to.name }));
  const kept = random.below(3) === 0 ? chunks.slice(0, 1 + random.below(chunks.length)) : chunks;
  await to.mesh.importBundle(kept, { from: from.name });
}

/** With positions and without losses. @returns how many changesets went from one to the other */
async function settle(from: Device, to: Device): Promise<number> {
  const inbound = to.mesh.inboundStream({ from: from.name });
  const since = (await inbound.position()).bytes;
  let changesets = 0;
  for await (const each of from.mesh.outboundStream({ mode: "once", to: to.name, since })) {
    const { receipt } = await inbound.accept(each.bytes);
    await each.ack(receipt.bytes);
    changesets += each.changesets;
  }
  return changesets;
}

test.each(Array.from({ length: 4 }, (_, at) => at + 1))(
  "[T16] copies of a profile exchange packages in any order, with losses, and end alike (seed %i)",
  async (seed) => {
    const random = createSeededRandom(seed);
    const directory = temporaryDirectory();
    const first: Device = { name: "0", directory, mesh: await open(directory) };
    const join = await first.mesh.invite();
    const aside = temporaryDirectory();
    const bystander: Device = {
      name: "b",
      directory: aside,
      mesh: await openAlone({ join, storage: { directory: aside } }),
    };
    const devices = [first, bystander];
    const draw = () => devices[random.below(devices.length)] as Device;
    const wrote: string[] = [];
    for (let step = 0; step < 40; step++) {
      const [from, to] = [draw(), draw()];
      const what = random.below(10);
      if (what < 4) {
        const id = `${from.name}${step}`;
        await write(from.mesh, id);
        wrote.push(id);
      } else if (what === 4 && devices.length < 5 && from !== bystander) {
        devices.push(await copy(from, `${devices.length}`));
      } else if (what === 5) await restart(from);
      else if (from === to) continue;
      else if (what === 6) await carryBundle(from, to, random);
      else await exchange(from, to, random);
    }
    for (let round = 0, isQuiet = false; !isQuiet; round++) {
      expect(round).toBeLessThan(8);
      let changesets = 0;
      for (const from of devices) {
        for (const to of devices) if (from !== to) changesets += await settle(from, to);
      }
      isQuiet = changesets === 0;
    }
    // A status follows a commit a little later.
    const digests = () => new Set(devices.map(({ mesh }) => mesh.status().digest)).size;
    await expect.poll(digests, { timeout: 20_000 }).toBe(1);
    for (const { mesh } of devices) expect(await idsOf(mesh)).toBe(wrote.sort().join(" "));
    const held = () => devices.map(({ mesh }) => mesh.status().waiting.held);
    await expect.poll(held, { timeout: 20_000 }).toEqual(devices.map(() => 0));
  },
  60_000,
);
