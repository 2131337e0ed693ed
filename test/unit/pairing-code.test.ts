/** The codes of docs/PAIRING.md: small, one encoding, anything else refused by name. */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { encode } from "uqr";
import { expect, test } from "vitest";
import {
  decodePairingCode,
  encodePairingCode,
  isPairingHost,
  keyFingerprint,
  pairingBytes,
  type PairingCode,
  pairingText,
} from "../../src/node/pairing-code.ts";
import { isMeshError } from "../../src/protocol/errors.ts";
import { publicKey, toHex } from "../../src/protocol/ids.ts";
import { PAIRING_CODE_BYTES_MAX, PAIRING_CODE_CHARS_MAX } from "../../src/protocol/limits.ts";

const ICE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const iceText = (minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...Array.from(ICE_CHARS)), minLength, maxLength });
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const hosts = fc.oneof(
  fc.uuid().map((uuid) => `${uuid}.local`),
  fc.ipV4(),
  bytesOf(16).map((bytes) => (toHex(bytes).match(/.{4}/g) ?? []).join(":")),
);
const codes: fc.Arbitrary<PairingCode> = fc.record({
  publicKey: bytesOf(32).map((bytes) => publicKey(bytes)),
  meshTag: fc.option(bytesOf(4).map((bytes) => toHex(bytes.map((byte) => byte | 1)))),
  route: fc.record({
    dtlsFingerprint: bytesOf(32),
    iceUfrag: iceText(4, 9),
    icePwd: iceText(22, 32),
    candidates: fc.array(fc.record({ host: hosts, port: fc.integer({ min: 1, max: 65_535 }) }), {
      minLength: 1,
      maxLength: 10,
    }),
  }),
});

const isRefused = (run: () => unknown): boolean => {
  try {
    run();
    return false;
  } catch (error) {
    if (!isMeshError(error, "ERR_PAIRING_INVALID")) throw error;
    return true;
  }
};

/** With the checksum that the bytes would have. */
function withChecksum(body: Uint8Array): Uint8Array {
  const hash = createHash("sha256").update("rowmesh pairing code 1").update(body).digest();
  return Uint8Array.of(...body, ...hash.subarray(0, 4));
}

test("a code is at most 140 bytes, 210 characters of QR's alphanumeric mode, and reads as it was", () => {
  fc.assert(
    fc.property(codes, (code) => {
      const bytes = encodePairingCode(code);
      expect(bytes.length).toBeLessThanOrEqual(PAIRING_CODE_BYTES_MAX);
      const text = pairingText(bytes);
      expect(text.length).toBeLessThanOrEqual(210);
      expect(text).toMatch(/^[0-9A-Z$*\-.:]+$/);
      expect(pairingBytes(text)).toEqual(bytes);
      const read = decodePairingCode(bytes);
      const { candidates, ...route } = read.route;
      expect({ ...read, route }).toEqual({
        ...code,
        route: { ...code.route, candidates: undefined },
      });
      expect(encodePairingCode(read)).toEqual(bytes);
      expect(candidates.length).toBeGreaterThan(0);
    }),
  );
});

const mdnsName = (digit: string): string => `${digit.repeat(8)}-aaaa-4bbb-8ccc-dddddddddddd.local`;

test("what Chromium offers on two networks fits, the best candidates first", () => {
  const candidates = [
    { host: mdnsName("1"), port: 51_293 },
    { host: mdnsName("2"), port: 41_435 },
    { host: mdnsName("3"), port: 1 },
  ];
  const bytes = encodePairingCode({
    publicKey: publicKey("7f".repeat(32)),
    meshTag: null,
    route: {
      dtlsFingerprint: new Uint8Array(32).fill(9),
      iceUfrag: "O2Jj",
      icePwd: "wQiyWk6eI6f9kFAt1EtDDQtX",
      candidates,
    },
  });
  expect(bytes.length).toBe(135);
  // A QR code that a phone reads from another's screen.
  for (const text of [pairingText(bytes), pairingText(new Uint8Array(PAIRING_CODE_BYTES_MAX))]) {
    expect(encode(text, { ecc: "M", boostEcc: false }).version).toBeLessThanOrEqual(8);
  }
  expect(pairingText(bytes).length).toBe(203);
  expect(decodePairingCode(bytes).route.candidates).toEqual(candidates.slice(0, 2));
});

test("a smaller candidate takes the room that a larger one leaves", () => {
  const mdns = mdnsName("1");
  const code = encodePairingCode({
    publicKey: publicKey("7f".repeat(32)),
    meshTag: "01020304",
    route: {
      dtlsFingerprint: new Uint8Array(32),
      iceUfrag: "12345678",
      icePwd: "12345678901234567890123456789012",
      candidates: [
        { host: mdns, port: 1 },
        { host: mdns, port: 2 },
        { host: "192.168.1.7", port: 3 },
        { host: "10.0.0.7", port: 4 },
      ],
    },
  });
  expect(decodePairingCode(code).route.candidates).toEqual([
    { host: mdns, port: 1 },
    { host: "192.168.1.7", port: 3 },
    { host: "10.0.0.7", port: 4 },
  ]);
});

test("any bytes are a code in its one encoding, or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(isRefused(() => decodePairingCode(bytes))).toBe(true);
    }),
  );
  let accepted = 0;
  fc.assert(
    fc.property(codes, fc.nat(), fc.nat(255), fc.nat(3), (code, at, value, how) => {
      const body = encodePairingCode(code).slice(0, -4);
      const bent =
        how === 0
          ? body.slice(0, at % body.length)
          : how === 1
            ? Uint8Array.of(...body, value)
            : body.with(at % body.length, value);
      const bytes = withChecksum(bent);
      if (isRefused(() => decodePairingCode(bytes))) return;
      accepted++;
      expect(encodePairingCode(decodePairingCode(bytes))).toEqual(bytes);
    }),
    { numRuns: 3_000 },
  );
  // Or the bending never got past the checksum.
  expect(accepted).toBeGreaterThan(500);
});

test("any text is refused or read; a mistyped or shortened one is refused", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      expect(isRefused(() => decodePairingCode(pairingBytes(text)))).toBe(true);
    }),
  );
  fc.assert(
    fc.property(codes, fc.nat(), fc.nat(40), (code, at, digit) => {
      const text = pairingText(encodePairingCode(code));
      const place = at % text.length;
      const other = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$*-.:".charAt(digit);
      const mistyped = text.slice(0, place) + other + text.slice(place + 1);
      const wrong = [mistyped, text.slice(0, place)].filter((each) => each !== text);
      const refused = wrong.map((each) => isRefused(() => decodePairingCode(pairingBytes(each))));
      expect(refused).toEqual(wrong.map(() => true));
    }),
  );
  expect(isRefused(() => pairingBytes(" ".repeat(PAIRING_CODE_CHARS_MAX + 1)))).toBe(true);
});

test("text and bytes belong together: two texts never mean the same", () => {
  let read = 0;
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom("0", "A", "$", "*", "-", ".", ":", "Z", "9"),
        maxLength: 30,
      }),
      (text) => {
        if (isRefused(() => pairingBytes(text))) return;
        read++;
        expect(pairingText(pairingBytes(text))).toBe(text);
      },
    ),
  );
  expect(read).toBeGreaterThan(0);
});

test("chat programs and people may break lines and change the case", () => {
  fc.assert(
    fc.property(codes, (code) => {
      const bytes = encodePairingCode(code);
      const pasted = `\n ${pairingText(bytes).toLowerCase().replace(/.{7}/g, "$&\r\n  ")}\t`;
      expect(pairingBytes(pasted)).toEqual(bytes);
    }),
  );
});

test("hosts that a code can carry", () => {
  const carried = ["::1", "fe80::1:2", "2001:db8:0:0:0:0:0:7", "1.2.3.4"];
  const others = [
    "",
    "host.local",
    "1.2.3",
    "1.2.3.256",
    "::1::",
    "1:2:3",
    ":::",
    "1:2:3:4:5:6:7:8:9",
  ];
  expect(carried.map(isPairingHost)).toEqual(carried.map(() => true));
  expect(others.map(isPairingHost)).toEqual(others.map(() => false));
});

test("a fingerprint is 96 bits in groups of four digits", () => {
  expect(keyFingerprint(publicKey("00".repeat(32)))).toMatch(/^([0-9a-f]{4} ){5}[0-9a-f]{4}$/);
  expect(keyFingerprint(publicKey("00".repeat(32)))).not.toBe(
    keyFingerprint(publicKey("01".repeat(32))),
  );
});
