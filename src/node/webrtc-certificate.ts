/**
 * The hub's WebRTC certificate, made once and kept by the caller. Its hash is part of the hub's
 * `webrtc-direct` address, so the same certificate means the same address after every restart.
 * libp2p's own certificates live 14 days, and longer ones overflow its renewal timer.
 *
 * @module
 */

// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it loaded first
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../protocol/ids.ts";

/** JSON-safe. The private key is a secret: keep it readable by the owner only. */
export interface WebrtcCertificate {
  /** PEM, PKCS #8. */
  readonly privateKey: string;
  /** PEM, X.509. */
  readonly pem: string;
  /** Multibase (base64url) multihash (SHA-256) of the certificate, as in `/certhash/…`. */
  readonly certhash: string;
}

const DAY_MS = 86_400_000;
const LIFE_DAYS = 20 * 365;
const SHA2_256_MULTIHASH = [0x12, 0x20] as const;
/** All that Chromium accepts (libp2p webrtc-direct specification). */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;

/** `serialBytes`: 8 random bytes. Valid from the day before `nowMs` (milliseconds since 1970). */
export async function createWebrtcCertificate(
  serialBytes: Uint8Array,
  nowMs: number,
): Promise<WebrtcCertificate> {
  const { crypto } = globalThis;
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  // Certificates count whole seconds.
  const notBefore = new Date(Math.floor((nowMs - DAY_MS) / 1_000) * 1_000);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      // A leading 1 keeps the DER integer positive and without padding.
      serialNumber: `1${toHex(serialBytes).slice(1)}`,
      name: "CN=rowmesh",
      notBefore,
      notAfter: new Date(notBefore.getTime() + LIFE_DAYS * DAY_MS),
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
      keys,
      extensions: [new x509.BasicConstraintsExtension(false, undefined, true)],
    },
    crypto,
  );
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const digest = sha256(new Uint8Array(certificate.rawData));
  return {
    privateKey: pemPrivateKey(pkcs8),
    pem: certificate.toString("pem"),
    certhash: `u${base64url(Uint8Array.of(...SHA2_256_MULTIHASH, ...digest))}`,
  };
}

function pemPrivateKey(pkcs8: Uint8Array): string {
  const lines = base64(pkcs8).match(/.{1,64}/g) ?? [];
  return ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----"].join("\n");
}

const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
