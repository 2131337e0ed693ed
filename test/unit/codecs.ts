/** Every structure with a wire form, behind one interface, so that no codec escapes a property. */
import * as fc from "fast-check";
import { packKey, unpackKey } from "../../src/db/packed-key.ts";
import { ByteReader, ByteWriter } from "../../src/protocol/bytes.ts";
import { decodeHeader, encodeHeader } from "../../src/protocol/changeset.ts";
import {
  decodeBroadcast,
  decodeRun,
  encodeBroadcast,
  encodeRun,
} from "../../src/protocol/changeset-run.ts";
import {
  decodeGenesisBody,
  decodeInvite,
  encodeGenesisBody,
  encodeInvite,
  fromBase64Url,
  toBase64Url,
} from "../../src/protocol/genesis.ts";
import { decodeMessage, encodeMessage } from "../../src/protocol/messages.ts";
import { decodeOutline, encodeOutline } from "../../src/protocol/outline.ts";
import { decodePayload, encodePayload, readValue, writeValue } from "../../src/protocol/payload.ts";
import {
  decodePackage,
  decodePosition,
  encodePackage,
  encodePosition,
} from "../../src/protocol/stream-packet.ts";
import { readVectorEntry, writeVectorEntry } from "../../src/protocol/version-vector.ts";
import { decodeHttpMessage, encodeHttpMessage } from "../../src/streams/http-message.ts";
import * as arbitrary from "./protocol-arbitraries.ts";

export interface Codec {
  readonly name: string;
  /** Throws what the decoder throws. */
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly encode: (value: unknown) => Uint8Array;
  readonly values: fc.Arbitrary<unknown>;
}

function codec<Value>(
  name: string,
  values: fc.Arbitrary<Value>,
  encode: (value: Value) => Uint8Array,
  decode: (bytes: Uint8Array) => Value,
): Codec {
  return { name, values, decode, encode: (value) => encode(value as Value) };
}

const written = (write: (writer: ByteWriter) => void): Uint8Array => {
  const writer = new ByteWriter(1);
  write(writer);
  return writer.finish();
};
const wholly = <Value>(bytes: Uint8Array, read: (reader: ByteReader) => Value): Value => {
  const reader = new ByteReader(bytes);
  const value = read(reader);
  reader.end();
  return value;
};

export const codecs: readonly Codec[] = [
  codec(
    "value",
    arbitrary.storedValue,
    (value) => written((writer) => writeValue(writer, value)),
    (bytes) => wholly(bytes, readValue),
  ),
  codec("payload", arbitrary.payload, encodePayload, decodePayload),
  codec("header", arbitrary.header, encodeHeader, decodeHeader),
  codec("run", arbitrary.run, encodeRun, decodeRun),
  codec("outline", arbitrary.outline, encodeOutline, decodeOutline),
  codec("broadcast", arbitrary.broadcast, encodeBroadcast, decodeBroadcast),
  codec(
    "vector entry",
    arbitrary.vectorEntry,
    (entry) => written((writer) => writeVectorEntry(writer, entry)),
    (bytes) => wholly(bytes, readVectorEntry),
  ),
  codec("message", arbitrary.message, encodeMessage, decodeMessage),
  codec("genesis body", arbitrary.genesisBody, encodeGenesisBody, decodeGenesisBody),
  codec("invite", arbitrary.invite, encodeInvite, decodeInvite),
  codec("key", arbitrary.key, packKey, (bytes) => unpackKey(bytes, ["INTEGER", "TEXT", "BLOB"])),
  codec("request over HTTP", arbitrary.httpMessage, encodeHttpMessage, decodeHttpMessage),
  codec(
    "base64url",
    fc.uint8Array({ minLength: 1, maxLength: 60 }),
    (bytes) => Buffer.from(toBase64Url(bytes), "latin1"),
    (bytes) => fromBase64Url(Buffer.from(bytes).toString("latin1")),
  ),
  codec("package", arbitrary.streamPackage, encodePackage, decodePackage),
  codec("position", arbitrary.streamPosition, encodePosition, decodePosition),
];
