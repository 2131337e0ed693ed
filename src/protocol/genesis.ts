/**
 * Genesis: the birth certificate of a mesh, and the invite that carries it whole in a join link.
 * `MeshId` = SHA-256("rowmesh mesh 1" ‖ body), signature excluded (PROTOCOL §1).
 * ```
 * body:   u8 format │ u8 policy (0 open, 1 invite) │ 32 founder's key │ 16 random │ text name
 * invite: sized body │ 64 signature by the founder │ varint count │ count × text hub address
 * ```
 *
 * @module
 */

import { ByteReader, ByteWriter, encodeText, notCanonical } from "./bytes.ts";
import { MeshError } from "./errors.ts";
import { fromHex, PUBLIC_KEY_BYTES, type PublicKey, publicKey, SIGNATURE_BYTES } from "./ids.ts";
import {
  ADDRESS_BYTES_MAX,
  FORMAT_VERSION,
  INVITE_ADDRESSES_MAX,
  INVITE_CHARS_MAX,
  NAME_BYTES_MAX,
} from "./limits.ts";

export interface GenesisBody {
  /** "open": whoever knows the genesis may write. "invite": membership is signed data. */
  readonly policy: "open" | "invite";
  readonly founder: PublicKey;
  /** 16 bytes. In an open mesh they make the mesh id unguessable. */
  readonly random: Uint8Array;
  readonly name: string;
}

export interface Genesis {
  readonly bodyBytes: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Invite {
  readonly genesis: Genesis;
  /** Multiaddrs of hubs, most promising first; may be empty. */
  readonly hubs: readonly string[];
}

const RANDOM_BYTES = 16;
const BODY_BYTES_MAX = 2 + PUBLIC_KEY_BYTES + RANDOM_BYTES + 2 + NAME_BYTES_MAX;

/** @throws MeshError ERR_LIMIT, ERR_NOT_CANONICAL where the name is too long or not well-formed. */
export function encodeGenesisBody(body: GenesisBody): Uint8Array<ArrayBuffer> {
  if (body.random.length !== RANDOM_BYTES) throw new RangeError("16 random bytes");
  if (encodeText(body.name).length > NAME_BYTES_MAX) {
    throw new MeshError("ERR_LIMIT", `a name of more than ${NAME_BYTES_MAX} bytes`);
  }
  return new ByteWriter()
    .u8(FORMAT_VERSION)
    .u8(body.policy === "open" ? 0 : 1)
    .raw(fromHex(body.founder))
    .raw(body.random)
    .text(body.name)
    .finish();
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeGenesisBody(bytes: Uint8Array): GenesisBody {
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== FORMAT_VERSION) throw new MeshError("ERR_UNKNOWN_FORMAT", `format ${format}`);
  const policy = reader.u8();
  if (policy > 1) throw notCanonical("policy");
  const founder = publicKey(reader.raw(PUBLIC_KEY_BYTES));
  const random = reader.raw(RANDOM_BYTES).slice();
  const name = reader.text(NAME_BYTES_MAX);
  reader.end();
  return { policy: policy === 0 ? "open" : "invite", founder, random, name };
}

export function encodeInvite(invite: Invite): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter()
    .sized(invite.genesis.bodyBytes)
    .raw(invite.genesis.signature)
    .varint(invite.hubs.length);
  for (const hub of invite.hubs) writer.text(hub);
  return writer.finish();
}

/** @throws MeshError ERR_NOT_CANONICAL, ERR_LIMIT, ERR_UNKNOWN_FORMAT */
export function decodeInvite(bytes: Uint8Array): Invite {
  const reader = new ByteReader(bytes);
  const bodyBytes = reader.sized(BODY_BYTES_MAX).slice();
  decodeGenesisBody(bodyBytes);
  const signature = reader.raw(SIGNATURE_BYTES).slice();
  const count = reader.varint(INVITE_ADDRESSES_MAX);
  const hubs: string[] = [];
  for (let i = 0; i < count; i++) hubs.push(reader.text(ADDRESS_BYTES_MAX));
  reader.end();
  return { genesis: { bodyBytes, signature }, hubs };
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** base64url without padding (RFC 4648 §5): survives URLs, QR codes and chat programs. */
export function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const count = Math.min(3, bytes.length - i) + 1;
    for (let j = 0; j < count; j++) text += ALPHABET[(group >> (18 - 6 * j)) & 63];
  }
  return text;
}

/** @throws MeshError ERR_NOT_CANONICAL on another alphabet or stray bits. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let group = 0;
  let at = 0;
  for (const char of text) {
    const value = ALPHABET.indexOf(char);
    if (value < 0) throw notCanonical("not base64url");
    group = ((group << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (group >> bits) & 0xff;
    }
  }
  if (bits >= 6 || (group & ((1 << bits) - 1)) !== 0) throw notCanonical("stray bits");
  return bytes;
}

/** The key of the fragment in a join URL: `https://…/#join=<base64url of the invite>`. */
const JOIN_KEY = "join=";

/** A link with the invite in its fragment, which browsers never send to a server. */
export const inviteLink = (invite: Invite, baseUrl: string): string =>
  `${baseUrl.replace(/#.*$/, "")}#${JOIN_KEY}${toBase64Url(encodeInvite(invite))}`;

/** Reads a join URL, its fragment, or the bare code. @throws MeshError ERR_INVITE_INVALID */
export function parseInviteLink(link: string): Invite {
  if (link.length > INVITE_CHARS_MAX) throw new MeshError("ERR_INVITE_INVALID", "link too long");
  // The last one: the code has no "=", the rest of the URL may have anything.
  const at = link.lastIndexOf(JOIN_KEY);
  const code = (at < 0 ? link : link.slice(at + JOIN_KEY.length)).trim();
  try {
    return decodeInvite(fromBase64Url(code));
  } catch (cause) {
    throw new MeshError("ERR_INVITE_INVALID", "not a join link", { cause });
  }
}
