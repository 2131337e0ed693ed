/** `rowmesh export` and `rowmesh import` over real directories. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { idsOf, openAlone, write } from "../streams/meshes.ts";
import { temporaryDirectory } from "../unit/temporary-directory.ts";
import { runCli } from "./run-cli.ts";

test("[T10] a bundle goes from an app's directory over a stick into another app's, and to a new one", async () => {
  const [here, there, stick] = [temporaryDirectory(), temporaryDirectory(), temporaryDirectory()];
  const a = await openAlone({ storage: { directory: here } });
  const link = await a.invite();
  await write(a, "1");
  await write(a, "2");
  await a.close();
  const file = join(stick, "notes.rowmesh");
  const exported = await runCli(["export", "--data", here, "--name", "streams", file]);
  expect(exported).toMatchObject({ code: 0, stderr: "" });
  expect(exported.stdout).toContain(`${readFileSync(file).length} bytes`);

  const b = await openAlone({ storage: { directory: there }, join: link });
  await write(b, "3");
  await b.close();
  const place = ["--data", there, "--name", "streams"];
  const imported = await runCli(["import", ...place, "--from", "a", file, file]);
  expect(imported).toMatchObject({ code: 0, stderr: "" });
  expect(imported.stdout).toMatch(/2 changesets \(2 applied\)[^]*2 changesets \(2 known\)/);
  const again = await openAlone({ storage: { directory: there } });
  expect(await idsOf(again)).toBe("1 2 3");
  expect(again.status().waiting).toMatchObject({ held: 0, parked: 0 });
  await again.close();

  const answer = join(stick, "answer.rowmesh");
  await runCli(["export", ...place, "--to", "a", answer]);
  const bytes = readFileSync(answer);
  expect(bytes.length).toBeLessThan(readFileSync(file).length);
  const fresh = temporaryDirectory();
  const piped = await runCli(
    ["import", "--data", fresh, "--join", link, "--json", file, "-"],
    bytes,
  );
  expect(piped).toMatchObject({ code: 0, stderr: "" });
  expect(
    piped.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toMatchObject([
    { file, complete: true, changesets: 2 },
    { file: "-", complete: true, changesets: 1 },
  ]);
}, 60_000);

test("[T11] files that are cut, foreign or absent end with 1 and one line each", async () => {
  const here = temporaryDirectory();
  const a = await openAlone({ storage: { directory: here } });
  await a.invite();
  await write(a, "1");
  await a.close();
  const place = ["--data", here, "--name", "streams"];
  const file = join(here, "bundle");
  await runCli(["export", ...place, file]);
  const cut = join(here, "cut");
  writeFileSync(cut, readFileSync(file).subarray(0, -1));
  const short = await runCli(["import", ...place, cut]);
  expect(short.code).toBe(1);
  expect(short.stdout).toContain("1 changesets (1 known)");
  expect(short.stderr).toContain("cut short or damaged");
  expect(short.stderr).toContain("ERR_NOT_CANONICAL");
  const absent = await runCli(["import", ...place, join(here, "absent")]);
  expect([absent.code, absent.stdout]).toEqual([1, ""]);
  expect(absent.stderr).toContain("ENOENT");
  const nowhere = await runCli(["export", "--data", join(here, "none"), join(here, "x")]);
  expect(nowhere.code).toBe(1);
  expect(nowhere.stderr).toContain("there is no database replica");
  expect(existsSync(join(here, "none"))).toBe(false);
  const folder = await runCli(["export", ...place, join(here, "no", "such", "folder")]);
  expect(folder.code).toBe(1);
  expect(folder.stderr).toContain("ENOENT");
}, 60_000);
