/**
 * The code that one device shows and the other reads, so that two browsers meet without a server:
 * whose device it is, and what WebRTC needs to find it. docs/PAIRING.md has the table.
 * ```
 * u8 version │ 32 public key │ 4 mesh tag │ 32 DTLS fingerprint │ ice ufrag │ ice pwd
 *   │ u8 count │ count × candidate │ 4 checksum
 * ice text:  u8 length │ its characters, 6 bits each, in groups of four
 * candidate: u8 kind (0 mDNS name, 1 IPv4, 2 IPv6) │ 16, 4 or 16 │ u16 port
 * ```
 * As text it has 41 characters: those of QR's alphanumeric mode that chat programs and URLs leave
 * alone, so neither space nor %, + or /. Two bytes take three of them, as in base45 (RFC 9285).
 *
 * Pure.
 *
 * @module
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { ByteReader, ByteWriter, encodeText, equalBytes, notCanonical } from "../protocol/bytes.ts";
import { MeshError } from "../protocol/errors.ts";
import { fromBase64Url, toBase64Url } from "../protocol/genesis.ts";
import {
  fromHex,
  type MeshId,
  PUBLIC_KEY_BYTES,
  type PublicKey,
  publicKey,
  toHex,
} from "../protocol/ids.ts";
import { PAIRING_CODE_BYTES_MAX, PAIRING_CODE_CHARS_MAX } from "../protocol/limits.ts";
import { siteIdOf } from "../signing/keys.ts";

export interface PairingCode {
  /** Of the device; its peer id is made from it. */
  readonly publicKey: PublicKey;
  /** Of the mesh it is in, see {@link meshTagOf}; null: in none. */
  readonly meshTag: string | null;
  readonly route: PairingRoute;
}

/** What WebRTC needs to find one end and to know it again. */
export interface PairingRoute {
  /** SHA-256 of the DTLS certificate, 32 bytes. */
  readonly dtlsFingerprint: Uint8Array;
  /** 4 to 32 ice-chars (RFC 8839 §5.4). */
  readonly iceUfrag: string;
  /** 22 to 64 ice-chars. */
  readonly icePwd: string;
  /** Best first, at least one. */
  readonly candidates: readonly PairingCandidate[];
}

export interface PairingCandidate {
  /** `<uuid>.local`, an IPv4 address, or an IPv6 address. */
  readonly host: string;
  /** UDP, 1 to 65535. */
  readonly port: number;
}

const VERSION = 1;
const TAG_BYTES = 4;
const CHECKSUM_BYTES = 4;
const FINGERPRINT_BYTES = 32;
const CANDIDATES_MAX = 8;
const UFRAG_CHARS = { min: 4, max: 32 };
const PWD_CHARS = { min: 22, max: 64 };
const CHECKSUM_DOMAIN = encodeText("rowmesh pairing code 1");

/** The first bytes of the mesh id, as hex: tells meshes apart, and is not enough to enter one. */
export const meshTagOf = (mesh: MeshId): string => mesh.slice(0, 2 * TAG_BYTES);

/** For people to compare: 96 bits of the key's site id, in groups of four hex digits. */
export const keyFingerprint = (key: PublicKey): string =>
  (siteIdOf(key).slice(0, 24).match(/.{4}/g) ?? []).join(" ");

/** Leaves out candidates for which there is no room. @throws RangeError where none fits */
export function encodePairingCode({ publicKey: key, meshTag, route }: PairingCode): Uint8Array {
  const writer = new ByteWriter()
    .u8(VERSION)
    .raw(fromHex(key))
    .raw(meshTag === null ? new Uint8Array(TAG_BYTES) : fromHex(meshTag))
    .raw(route.dtlsFingerprint);
  writeIceText(writer, route.iceUfrag, UFRAG_CHARS);
  writeIceText(writer, route.icePwd, PWD_CHARS);
  const fitting: Uint8Array[] = [];
  let room = PAIRING_CODE_BYTES_MAX - writer.length - 1 - CHECKSUM_BYTES;
  for (const candidate of route.candidates) {
    const bytes = encodeCandidate(candidate);
    if (bytes.length > room || fitting.length === CANDIDATES_MAX) continue;
    room -= bytes.length;
    fitting.push(bytes);
  }
  if (fitting.length === 0) throw new RangeError("a pairing code without a candidate");
  writer.u8(fitting.length);
  for (const bytes of fitting) writer.raw(bytes);
  return writer.raw(checksumOf(writer.finish())).finish();
}

/** @throws MeshError ERR_PAIRING_INVALID on anything but the one encoding. */
export function decodePairingCode(bytes: Uint8Array): PairingCode {
  try {
    return decode(bytes);
  } catch (cause) {
    if (cause instanceof MeshError && cause.code === "ERR_PAIRING_INVALID") throw cause;
    throw new MeshError("ERR_PAIRING_INVALID", "not a pairing code", { cause });
  }
}

function decode(bytes: Uint8Array): PairingCode {
  const end = bytes.length - CHECKSUM_BYTES;
  if (bytes.length > PAIRING_CODE_BYTES_MAX || end < 1) throw invalid("not a pairing code");
  const body = bytes.subarray(0, end);
  if (!equalBytes(bytes.subarray(end), checksumOf(body))) throw invalid("mistyped, or cut off");
  const reader = new ByteReader(body);
  if (reader.u8() !== VERSION) throw invalid("made by another version of the app");
  const key = publicKey(reader.raw(PUBLIC_KEY_BYTES));
  const tag = reader.raw(TAG_BYTES);
  const dtlsFingerprint = reader.raw(FINGERPRINT_BYTES).slice();
  const iceUfrag = readIceText(reader, UFRAG_CHARS);
  const icePwd = readIceText(reader, PWD_CHARS);
  const count = reader.u8();
  if (count === 0 || count > CANDIDATES_MAX) throw notCanonical(`${count} candidates`);
  const candidates = Array.from({ length: count }, () => readCandidate(reader));
  reader.end();
  const meshTag = tag.every((byte) => byte === 0) ? null : toHex(tag);
  return {
    publicKey: key,
    meshTag,
    route: { dtlsFingerprint, iceUfrag, icePwd, candidates },
  };
}

const checksumOf = (body: Uint8Array): Uint8Array =>
  sha256.create().update(CHECKSUM_DOMAIN).update(body).digest().subarray(0, CHECKSUM_BYTES);

const invalid = (why: string): MeshError => new MeshError("ERR_PAIRING_INVALID", why);

interface Length {
  readonly min: number;
  readonly max: number;
}

/** ice-char is ALPHA, DIGIT, "+" and "/": the alphabet of base64, whose groups have four characters. */
function writeIceText(writer: ByteWriter, text: string, { min, max }: Length): void {
  if (text.length < min || text.length > max) throw new RangeError(`ice text of ${text.length}`);
  const padded = text.padEnd(4 * Math.ceil(text.length / 4), "A");
  const base64Url = padded.replaceAll("+", "-").replaceAll("/", "_");
  writer.u8(text.length).raw(fromBase64Url(base64Url));
}

function readIceText(reader: ByteReader, { min, max }: Length): string {
  const length = reader.u8();
  if (length < min || length > max) throw notCanonical(`ice text of ${length}`);
  const padded = toBase64Url(reader.raw(3 * Math.ceil(length / 4)));
  if (/[^A]/.test(padded.slice(length))) throw notCanonical("padding");
  return padded.slice(0, length).replaceAll("-", "+").replaceAll("_", "/");
}

const KINDS = [
  { bytes: 16, parse: parseMdnsName, format: formatMdnsName },
  { bytes: 4, parse: parseIpv4, format: (bytes: Uint8Array): string => bytes.join(".") },
  { bytes: 16, parse: parseIpv6, format: formatIpv6 },
] as const;

/** Whether the host is one that a code can carry. */
export const isPairingHost = (host: string): boolean =>
  KINDS.some(({ parse }) => parse(host) !== null);

/** @throws RangeError on a host of another kind. */
function encodeCandidate({ host, port }: PairingCandidate): Uint8Array {
  for (const [kind, { parse }] of KINDS.entries()) {
    const address = parse(host);
    if (address === null) continue;
    return new ByteWriter()
      .u8(kind)
      .raw(address)
      .u8(port >> 8)
      .u8(port & 255)
      .finish();
  }
  throw new RangeError(`candidate ${host}`);
}

function readCandidate(reader: ByteReader): PairingCandidate {
  const kind = KINDS[reader.u8()];
  if (kind === undefined) throw notCanonical("kind of candidate");
  const host = kind.format(reader.raw(kind.bytes));
  const port = reader.u8() * 256 + reader.u8();
  if (port === 0) throw notCanonical("port 0");
  return { host, port };
}

/** As browsers make them: a UUID (RFC 9562) in lower case. */
function parseMdnsName(host: string): Uint8Array | null {
  const uuid = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\.local$/;
  const groups = uuid.exec(host);
  return groups === null ? null : fromHex(groups.slice(1).join(""));
}

function formatMdnsName(bytes: Uint8Array): string {
  const hex = toHex(bytes);
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${[...groups, hex.slice(20)].join("-")}.local`;
}

function parseIpv4(host: string): Uint8Array | null {
  const parts = host.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) {
    return null;
  }
  return Uint8Array.from(parts, Number);
}

/** RFC 4291 §2.2 without the mixed form, which browsers do not write into candidates. */
function parseIpv6(host: string): Uint8Array | null {
  const halves = host.split("::");
  if (!host.includes(":") || halves.length > 2) return null;
  const [before = [], after = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const zeros = 8 - before.length - after.length;
  if (halves.length === 1 ? zeros !== 0 : zeros < 1) return null;
  const groups = [...before, ...Array.from({ length: zeros }, () => "0"), ...after];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null;
  return fromHex(groups.map((group) => group.padStart(4, "0").toLowerCase()).join(""));
}

function formatIpv6(bytes: Uint8Array): string {
  const groups = toHex(bytes).match(/.{4}/g) ?? [];
  return groups.map((group) => group.replace(/^0{1,3}/, "")).join(":");
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$*-.:";
const BASE = ALPHABET.length;

/** The least significant character first; a last single byte takes two. */
export function pairingText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 2) {
    const isPair = at + 1 < bytes.length;
    let value = isPair ? (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0) : (bytes[at] ?? 0);
    for (let i = isPair ? 3 : 2; i > 0; i--) {
      text += ALPHABET[value % BASE];
      value = Math.floor(value / BASE);
    }
  }
  return text;
}

/** Case and white space do not matter. @throws MeshError ERR_PAIRING_INVALID */
export function pairingBytes(text: string): Uint8Array<ArrayBuffer> {
  if (text.length > PAIRING_CODE_CHARS_MAX) throw invalid("too long for a pairing code");
  const digits = Array.from(text.replace(/\s/g, ""), (char) =>
    ALPHABET.indexOf(/[a-z]/.test(char) ? char.toUpperCase() : char),
  );
  if (digits.includes(-1)) throw invalid("not a pairing code");
  const writer = new ByteWriter();
  for (let at = 0; at < digits.length; at += 3) {
    const [a = 0, b, c] = digits.slice(at, at + 3);
    if (b === undefined) throw invalid("mistyped, or cut off");
    const value = a + b * BASE + (c ?? 0) * BASE * BASE;
    if (value > (c === undefined ? 0xff : 0xffff)) throw invalid("mistyped, or cut off");
    if (c !== undefined) writer.u8(value >> 8);
    writer.u8(value & 255);
  }
  return writer.finish();
}
