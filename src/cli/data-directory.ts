/**
 * A hub's data directory: what makes it the same hub after a restart. Only its owner can read it.
 * ```
 * DIR/authority.json     the certificate authority of `--https`, with a private key (authority-file.ts)
 * DIR/certificate.json   the WebRTC certificate; its hash is part of the hub's address
 * DIR/replica/           the database: the hub's key, the mesh, the log
 * ```
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { createWebrtcCertificate, type WebrtcCertificate } from "../node/webrtc-certificate.ts";
import { CommandError } from "./command.ts";

const OWNER_ONLY_DIRECTORY = 0o700;
const OWNER_ONLY_FILE = 0o600;

/** Makes the directory if need be. @throws CommandError when that is impossible. */
export function makeDataDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: OWNER_ONLY_DIRECTORY });
  } catch (error) {
    throw new CommandError(
      `cannot make the data directory ${directory} (${errorCode(error)}). Choose another with --data.`,
    );
  }
}

/** Of the replica's database, and so of the folder it lives in. */
export const REPLICA_NAME = "replica";

/**
 * The kept certificate, or a new one, on the disk before it is returned: an address that was
 * printed once stays good. @throws CommandError on a damaged or unreadable file.
 */
export async function loadOrCreateCertificate(directory: string): Promise<WebrtcCertificate> {
  const kept = readCertificate(directory);
  if (kept !== null) return kept;
  const certificate = await createWebrtcCertificate(randomBytes(8), Date.now());
  writeDurably(certificatePath(directory), `${JSON.stringify(certificate, null, 2)}\n`);
  return certificate;
}

/** Null when there is none yet. @throws CommandError on a damaged or unreadable file. */
export function readCertificate(directory: string): WebrtcCertificate | null {
  const path = certificatePath(directory);
  const text = readIfPresent(path);
  return text === null ? null : parseCertificate(text, path);
}

const certificatePath = (directory: string): string => join(directory, "certificate.json");

/** @throws CommandError when it is there and cannot be read. */
export function readIfPresent(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw new CommandError(`cannot read ${path} (${errorCode(error)}). Correct its permissions.`);
  }
}

function parseCertificate(text: string, path: string): WebrtcCertificate {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!isCertificate(value)) {
    throw new CommandError(
      `${path} is damaged. Restore it, or delete it: the hub then gets a new address and join links must be made again.`,
    );
  }
  return { privateKey: value.privateKey, pem: value.pem, certhash: value.certhash };
}

function isCertificate(value: unknown): value is WebrtcCertificate {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Partial<Record<keyof WebrtcCertificate, unknown>>;
  return [fields.privateKey, fields.pem, fields.certhash].every(
    (field) => typeof field === "string",
  );
}

/** Whole or absent, never half, whenever the power fails. Only its owner can read it. */
export function writeDurably(path: string, text: string): void {
  const unfinished = `${path}.new`;
  const file = openSync(unfinished, "w", OWNER_ONLY_FILE);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(unfinished, path);
}

const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "unknown error";
