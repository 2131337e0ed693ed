/**
 * What `rowmesh doctor` looks at on the machine itself: Node, the native WebRTC, and what the hub
 * keeps on disk. Nothing is made that stays.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmdirSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readAuthority } from "./authority-file.ts";
import { type Check, fail, messageOf, ok, warn } from "./check.ts";
import { readCertificate } from "./data-directory.ts";
import { sizeOf } from "./status-report.ts";

const NODE_MINIMUM = [20, 19] as const;
/** A hub stops writing on a full disk, and starts again when there is room. */
const FREE_BYTES_FAIL = 50e6;
const FREE_BYTES_WARN = 500e6;
const DAY_MS = 86_400_000;
const SOON_MS: number = 30 * DAY_MS;

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isEnough =
    major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1]);
  return isEnough
    ? ok("node", `version ${version}`)
    : fail("node", `version ${version}`, `Install Node ${NODE_MINIMUM.join(".")} or newer.`);
}

export async function checkNativeWebrtc(): Promise<Check> {
  try {
    await import("@libp2p/webrtc");
    return ok("webrtc", "the native part loads");
  } catch (error) {
    const reason = messageOf(error).split("\n", 1)[0] ?? "";
    return fail(
      "webrtc",
      `the native part does not load (${reason})`,
      "Run npm install again on this machine: node-datachannel has a build for each system and processor.",
    );
  }
}

/** `nowMs`: milliseconds since 1970. */
export async function checkDataDirectory(data: string, nowMs: number): Promise<readonly Check[]> {
  if (!existsSync(data)) {
    const parent = nearestDirectory(data);
    const checks = [checkWritable(parent), await checkSpace(parent)];
    return [ok("data", `${data} is not there yet; rowmesh hub makes it`), ...checks];
  }
  return [
    checkPermissions(data),
    checkWritable(data),
    await checkSpace(data),
    ...checkKept("certificate", "hub's address", nowMs, () => {
      const kept = readCertificate(data);
      return kept === null ? [] : [kept.pem];
    }),
    ...checkKept("authority", "https page", nowMs, () => {
      const kept = readAuthority(data);
      // The root was made with it, for as long.
      return kept === null ? [] : [kept.intermediate];
    }),
  ];
}

function nearestDirectory(path: string): string {
  const parent = dirname(path);
  return existsSync(parent) ? parent : nearestDirectory(parent);
}

function checkPermissions(data: string): Check {
  const mode = statSync(data).mode & 0o077;
  if (process.platform === "win32" || mode === 0) return ok("data", data);
  return warn("data", `others may look into ${data}, which holds the hub's key`, `chmod 700 it.`);
}

function checkWritable(directory: string): Check {
  try {
    rmdirSync(mkdtempSync(join(directory, ".rowmesh-doctor-")));
    return ok("writing", `possible in ${directory}`);
  } catch (error) {
    const remedy = "Correct its permissions, or choose another with --data.";
    return fail("writing", `impossible in ${directory} (${messageOf(error)})`, remedy);
  }
}

async function checkSpace(directory: string): Promise<Check> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const says = `${sizeOf(free)} free on the disk of ${directory}`;
  if (free < FREE_BYTES_FAIL) return fail("space", says, "Free some: a full disk stops the hub.");
  return free < FREE_BYTES_WARN ? warn("space", says, "Free some soon.") : ok("space", says);
}

/** Nothing to say of what is not there. */
function checkKept(
  name: string,
  whose: string,
  nowMs: number,
  read: () => readonly string[],
): readonly Check[] {
  try {
    return read().map((pem) => checkValidity(name, whose, pem, nowMs));
  } catch (error) {
    return [fail(name, messageOf(error).replace(/\. .*/, ""), restOf(messageOf(error)))];
  }
}

const restOf = (message: string): string => message.replace(/^.*?\. /, "");

function checkValidity(name: string, whose: string, pem: string, nowMs: number): Check {
  const { validFrom, validTo } = new X509Certificate(pem);
  const [fromMs, toMs] = [Date.parse(validFrom), Date.parse(validTo)];
  const says = `of the ${whose}, valid until ${day(toMs)}`;
  if (nowMs < fromMs) {
    return fail(
      name,
      `valid from ${day(fromMs)} on, and this machine says it is ${day(nowMs)}`,
      "Set the clock.",
    );
  }
  const remedy = `Delete ${name}.json while the hub is stopped; devices must then join or trust it anew.`;
  if (nowMs > toMs) return fail(name, says, remedy);
  return toMs - nowMs < SOON_MS ? warn(name, says, remedy) : ok(name, says);
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
