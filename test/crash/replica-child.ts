/**
 * Runs in a process of its own until it is killed. `write`: random transactions, each followed by one
 * of several rows that stay, now and then by a rebuild; says "row id" of these and "version site
 * version hash" after both, which releases them. `merge`: appends the runs of a file, shuffled, again
 * and again; says "version …" of what it then holds.
 */
import { readFileSync } from "node:fs";
import { openDirectoryStorage } from "../../src/db/storage-directory.ts";
import type { VerifiedChangeset } from "../../src/protocol/changeset.ts";
import { decodeRun } from "../../src/protocol/changeset-run.ts";
import { verifyRun } from "../../src/signing/verified-changeset.ts";
import { randomTransaction } from "../../src/testing/random-work.ts";
import { ed25519, MESH, openReplica } from "../fixtures/replicas.ts";
import { createSeededRandom } from "../../src/testing/seeded-random.ts";

/** No random work touches the rows of this day. */
const ENTRY_DAY = 7;

const [, , mode, directory, author, seed, runsFile] = process.argv;
if (directory === undefined) throw new RangeError("usage: mode directory author seed [runs]");

const random = createSeededRandom(Number(seed));
const db = await openReplica(Number(author), { storage: await openDirectoryStorage(directory) });
const own = db.signer.siteId;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function write(): Promise<void> {
  for (let n = 0; ; n++) {
    await randomTransaction(db, random);
    sayHead();
    const parts = 1 + (n % 3);
    const ids = Array.from({ length: parts }, (_, part) => `${seed}-${n}/${part}`);
    await db.execMany(
      "INSERT INTO sighting (place, day, count) VALUES (?, ?, ?)",
      ids.map((id) => [id, ENTRY_DAY, parts]),
    );
    for (const id of ids) say(`row ${id}`);
    sayHead();
    if (random.below(20) === 0) await db.rebuild();
  }
}

function sayHead(): void {
  const head = db.vector().find(({ site }) => site === own)?.head ?? 0;
  if (head > 0) say(`version ${own} ${head} ${db.hashOf(own, "data", head)}`);
}

async function merge(): Promise<void> {
  const all: VerifiedChangeset[] = [];
  const file = readFileSync(runsFile ?? "");
  for (let at = 0; at < file.length;) {
    const length = file.readUInt32BE(at);
    const run = decodeRun(new Uint8Array(file.subarray(at + 4, at + 4 + length)));
    all.push(...(await verifyRun(ed25519, run, MESH)).verified);
    at += 4 + length;
  }
  for (;;) {
    const start = random.below(all.length);
    const some = all.slice(start, start + 1 + random.below(7));
    if (random.below(3) === 0) some.reverse();
    const outcomes = await db.append(some);
    for (const [index, { header, headerHash }] of some.entries()) {
      if (outcomes[index]?.verdict === "later") continue;
      say(`version ${header.site} ${header.version} ${headerHash}`);
    }
  }
}

await (mode === "write" ? write() : merge());
