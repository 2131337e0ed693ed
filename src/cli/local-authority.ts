/**
 * The hub's own certificate authority, which devices of the LAN may choose to trust, and the
 * certificates that it makes for the hub's https page.
 *
 * Two certificates make the authority. Devices install the *root*; its private key signs once and is
 * forgotten. What the hub keeps is the key of the *intermediate*, which may sign for servers only
 * (extended key usage), and only for names of a LAN (critical name constraints, RFC 5280 §4.2.1.10).
 * The constraints stand in the intermediate because many verifiers ignore those of a root that
 * people installed themselves. So whoever steals the hub's disk can answer for LAN addresses, and
 * for no site of the web.
 *
 * @module
 */

// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it loaded first
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createPrivateKey, KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { CommandError } from "./command.ts";
import {
  isInDomain,
  isPrivateAddress,
  LAN_DOMAINS,
  PRIVATE_NETWORKS,
  withoutBrackets,
} from "./lan-host.ts";

/** JSON-safe. The private key is a secret: keep it readable by the owner only. */
export interface LocalAuthority {
  /** PEM, X.509: what devices trust. */
  readonly root: string;
  /** PEM, X.509: signed by the root. */
  readonly intermediate: string;
  /** PEM, PKCS #8: the intermediate's. */
  readonly privateKey: string;
  /** The one name outside the LAN's domains that it may sign for: this machine's full name then. */
  readonly hostname: string | null;
}

/** For `tls.createSecureContext`, in memory only. */
export interface ServerCertificate {
  /** PEM, PKCS #8. */
  readonly key: string;
  /** PEM: the server's certificate, then the intermediate. */
  readonly cert: string;
  /** Names and addresses that it is for, sorted; IPv6 without brackets. */
  readonly hosts: readonly string[];
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
  /** When it is time for another; `Infinity` when none could last longer. */
  readonly renewFromMs: number;
}

const DAY_MS = 86_400_000;
const AUTHORITY_LIFE_DAYS = 3_650;
/** The strictest rule that a browser has: Apple's for public authorities, 398 days. */
const SERVER_LIFE_DAYS = 397;
const RENEW_BEFORE_DAYS = 30;
/** Clocks of other devices may be behind. */
const CLOCK_SLACK_DAYS = 1;
/** No clock that is right shows an earlier time; one without a battery starts in 1970. */
const CLOCK_MIN_MS: number = Date.UTC(2_026, 0, 1);
/** RFC 5280: ub-common-name. */
const COMMON_NAME_CHARS_MAX = 64;

const LOOPBACK = ["localhost", "127.0.0.1", "::1"] as const;

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" } as const;
const NAME_CONSTRAINTS_OID = "2.5.29.30";
const { crypto } = globalThis;

/**
 * `name`: the hub's, for people who look at their list of authorities. `hostname`: as the system
 * gives it. @throws CommandError when the clock is wrong
 */
export async function createAuthority(
  name: string,
  hostname: string,
  nowMs: number,
): Promise<LocalAuthority> {
  checkClock(nowMs);
  const ownName = publicName(hostname);
  const constraints = new x509.Extension(NAME_CONSTRAINTS_OID, true, nameConstraints(ownName));
  const subject = authorityName(name, "");
  const rootKeys = await makeKeys();
  const keys = await makeKeys();
  const validity = validFor(nowMs, AUTHORITY_LIFE_DAYS);
  const certSign = new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true);
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: subject,
      ...validity,
      signingAlgorithm: SIGNING_ALGORITHM,
      keys: rootKeys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 1, true),
        certSign,
        constraints,
        await x509.SubjectKeyIdentifierExtension.create(rootKeys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  const intermediate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: authorityName(name, " issuer"),
      issuer: root.subjectName,
      ...validity,
      signingAlgorithm: SIGNING_ALGORITHM,
      signingKey: rootKeys.privateKey,
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        certSign,
        constraints,
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
        await x509.AuthorityKeyIdentifierExtension.create(rootKeys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return {
    root: root.toString("pem"),
    intermediate: intermediate.toString("pem"),
    privateKey: pemOf(keys.privateKey),
    hostname: ownName,
  };
}

/**
 * Whether these parts belong together and can sign. A file that somebody damaged or mixed with
 * another's must not reach the devices.
 */
export function isWhole({ root, intermediate, privateKey }: LocalAuthority): boolean {
  try {
    const [upper, lower] = [new X509Certificate(root), new X509Certificate(intermediate)];
    return (
      upper.ca &&
      lower.ca &&
      upper.verify(upper.publicKey) &&
      lower.checkIssued(upper) &&
      lower.verify(upper.publicKey) &&
      lower.checkPrivateKey(createPrivateKey(privateKey))
    );
  } catch {
    return false;
  }
}

/** SHA-256 of the root as devices show it: `AB:CD:…`, 32 bytes. */
export const fingerprintOf = ({ root }: LocalAuthority): string =>
  new X509Certificate(root).fingerprint256;

/** The root as bytes, DER. */
export const rootBytes = ({ root }: LocalAuthority): Uint8Array => new X509Certificate(root).raw;

/** How lists of authorities show it. */
export const rootName = ({ root }: LocalAuthority): string =>
  new x509.X509Certificate(root).subjectName.getField("CN")[0] ?? "";

/** Of those that the hub has, the ones its authority may sign for, sorted. */
export function certificateHosts(
  { hostname: ownName }: LocalAuthority,
  addresses: readonly string[],
  hostname: string,
): readonly string[] {
  const name = nameInCertificates(hostname);
  // Routers add their own domain to the names of their clients.
  const names =
    name === null ? [] : name.includes(".") ? [name] : LAN_DOMAINS.map((each) => `${name}.${each}`);
  const allowed = permittedDomains(ownName);
  const hosts = [
    ...addresses.map(withoutBrackets).filter(isPrivateAddress),
    ...names.filter((each) => allowed.some((domain) => isInDomain(each, domain))),
    ...LOOPBACK,
  ];
  return [...new Set(hosts)].sort();
}

/** `hosts` as {@link certificateHosts} gives them. @throws CommandError when a clock is wrong */
export async function issueCertificate(
  authority: LocalAuthority,
  hosts: readonly string[],
  nowMs: number,
): Promise<ServerCertificate> {
  checkClock(nowMs);
  const issuer = new x509.X509Certificate(authority.intermediate);
  const issuerEndMs = issuer.notAfter.getTime();
  if (issuerEndMs < nowMs) {
    throw new CommandError(
      `the authority's certificate ended on ${isoDay(issuer.notAfter)}. Delete authority.json in the data directory: the hub makes another, which every device must trust anew.`,
    );
  }
  const keys = await makeKeys();
  const validity = validFor(nowMs, SERVER_LIFE_DAYS);
  const endMs = validity.notAfter.getTime();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: [{ CN: ["rowmesh hub"] }],
      issuer: issuer.subjectName,
      ...validity,
      notAfter: new Date(Math.min(endMs, issuerEndMs)),
      signingAlgorithm: SIGNING_ALGORITHM,
      signingKey: await importKey(authority.privateKey),
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          hosts.map((value) => ({
            type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
            value,
          })),
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return {
    key: pemOf(keys.privateKey),
    cert: `${certificate.toString("pem")}\n${authority.intermediate}\n`,
    hosts,
    notBeforeMs: validity.notBefore.getTime(),
    renewFromMs: endMs > issuerEndMs ? Infinity : endMs - RENEW_BEFORE_DAYS * DAY_MS,
  };
}

/** Whether the hub needs another: it has other addresses now, or the time is near or was set. */
export function isOutdated(
  { hosts, notBeforeMs, renewFromMs }: ServerCertificate,
  hostsNow: readonly string[],
  nowMs: number,
): boolean {
  if (hosts.join(" ") !== hostsNow.join(" ")) return true;
  return nowMs < notBeforeMs || nowMs >= renewFromMs;
}

function checkClock(nowMs: number): void {
  if (nowMs >= CLOCK_MIN_MS) return;
  throw new CommandError(
    `this machine's clock says ${isoDay(new Date(nowMs))}, and certificates carry dates. Set the clock.`,
  );
}

const isoDay = (date: Date): string => date.toISOString().slice(0, 10);

/** In lower case, as certificates compare names; null: no certificate can hold it. */
function nameInCertificates(hostname: string): string | null {
  const name = hostname.toLowerCase();
  const isName = name.length <= 253 && name.split(".").every((label) => LABEL.test(label));
  return isName && isIP(name) === 0 ? name : null;
}

/**
 * A machine called `dev` may not sign for `*.dev`: a constraint covers all that is below it, and
 * names without a dot may be domains of the web. It is `dev.local` here.
 */
function publicName(hostname: string): string | null {
  const name = nameInCertificates(hostname);
  const isNeeded = name?.includes(".") && !LAN_DOMAINS.some((domain) => isInDomain(name, domain));
  return name !== null && isNeeded ? name : null;
}

/** RFC 1123 §2.1 */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** As it is: the library reads "#", quotes and backslashes of a plain string as a notation. */
function authorityName(name: string, suffix: string): x509.Name {
  const tail = ` (rowmesh hub${suffix})`;
  const chars = Array.from(name).slice(0, COMMON_NAME_CHARS_MAX - tail.length);
  return new x509.Name([{ CN: [{ utf8String: chars.join("") + tail }] }]);
}

const makeKeys = (): Promise<CryptoKeyPair> =>
  crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

const pemOf = (key: CryptoKey): string =>
  KeyObject.from(key).export({ type: "pkcs8", format: "pem" }).toString();

const importKey = (pem: string): Promise<CryptoKey> => {
  const pkcs8 = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
  return crypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), ALGORITHM, false, ["sign"]);
};

/** A leading 1 keeps the DER integer positive and without padding. */
const serialNumber = (): string => `1${randomBytes(16).toString("hex").slice(1)}`;

interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** From `nowMs` on and a little before, in whole seconds, as certificates count. */
function validFor(nowMs: number, days: number): Validity {
  const notBeforeMs = Math.floor(nowMs / 1_000) * 1_000 - CLOCK_SLACK_DAYS * DAY_MS;
  return { notBefore: new Date(notBeforeMs), notAfter: new Date(notBeforeMs + days * DAY_MS) };
}

const SEQUENCE = 0x30;
const PERMITTED_SUBTREES = 0xa0;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** The value of the extension, DER: these DNS names and those below them, these networks. */
function nameConstraints(hostname: string | null): Uint8Array<ArrayBuffer> {
  const names = permittedDomains(hostname).map((domain) =>
    der(DNS_NAME, new TextEncoder().encode(domain)),
  );
  const networks = PRIVATE_NETWORKS.map(({ address, bits }) => {
    const bytes = new Uint8Array(new x509.GeneralName("ip", address).rawData).subarray(2);
    return der(IP_ADDRESS, bytes, maskBytes(bits, bytes.length));
  });
  const subtrees = [...names, ...networks].map((base) => der(SEQUENCE, base));
  return der(SEQUENCE, der(PERMITTED_SUBTREES, ...subtrees));
}

const permittedDomains = (hostname: string | null): readonly string[] => [
  ...LAN_DOMAINS,
  "localhost",
  ...(hostname === null ? [] : [hostname]),
];

const maskBytes = (bits: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => {
    const ones = Math.min(8, Math.max(0, bits - at * 8));
    return (0xff00 >> ones) & 0xff;
  });

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length > 0xffff) throw new RangeError(`${length} bytes`);
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Uint8Array.of(tag, ...size, ...content);
}
