/**
 * The pages that hand the hub's authority to phones and laptops: what it is, how to install it, how
 * to take it out again. Plain HTML without scripts, over http and https alike, because a device that
 * needs it cannot open https yet.
 * ```
 * /trust                            the page
 * /rowmesh-authority.crt            the root, DER
 * /rowmesh-authority.mobileconfig   the root as a profile, for iOS
 * /rowmesh-trusted.svg              over https: shows that this device trusts it
 * ```
 *
 * @module
 */

import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { fingerprintOf, type LocalAuthority, rootBytes, rootName } from "./local-authority.ts";

export interface TrustPagesOptions {
  readonly authority: LocalAuthority;
  /** Of the https page, for a device that asked for a page under this host (name and port). */
  readonly secureOrigin: (requestHost: string | undefined) => string;
}

/** The answer for a path, or null: the path is not one of these. `host`: the request's header. */
export type TrustPages = (path: string, host: string | undefined) => TrustPage | null;

interface TrustPage {
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export const TRUST_PATH = "/trust";
const CERTIFICATE_PATH = "/rowmesh-authority.crt";
const PROFILE_PATH = "/rowmesh-authority.mobileconfig";
const CHECK_PATH = "/rowmesh-trusted.svg";

const NOT_STORED = { "Cache-Control": "no-store" } as const;

export function createTrustPages({ authority, secureOrigin }: TrustPagesOptions): TrustPages {
  const certificate = rootBytes(authority);
  const profile = profileOf(authority);
  return (path, host) => {
    switch (path) {
      case TRUST_PATH:
        return {
          contentType: "text/html;charset=utf-8",
          body: trustPage(authority, secureOrigin(host)),
          headers: { ...NOT_STORED, "Content-Security-Policy": PAGE_POLICY },
        };
      case CERTIFICATE_PATH:
        return {
          contentType: "application/x-x509-ca-cert",
          body: certificate,
          headers: NOT_STORED,
        };
      case PROFILE_PATH:
        return {
          contentType: "application/x-apple-aspen-config",
          body: profile,
          headers: NOT_STORED,
        };
      case CHECK_PATH:
        return {
          contentType: "image/svg+xml",
          body: CHECK_IMAGE,
          // The page that shows it was loaded over http.
          headers: { ...NOT_STORED, "Cross-Origin-Resource-Policy": "cross-origin" },
        };
      default:
        return null;
    }
  };
}

const CHECK_IMAGE = `<svg xmlns="http://www.w3.org/2000/svg" width="300" height="32" viewBox="0 0 300 32">
<rect width="300" height="32" rx="6" fill="#2f6b3f"/>
<text x="12" y="21" font-family="sans-serif" font-size="15" fill="#fff">✓ This device trusts the hub</text>
</svg>
`;

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin-top: 2rem; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
.print { display: block; padding: .75rem; border: 1px solid #8888; border-radius: 6px; }
.get { display: block; margin: .5rem 0; padding: .75rem; border-radius: 6px; background: #2f6b3f; color: #fff; text-align: center; }
summary { padding: .6rem 0; font-weight: 600; cursor: pointer; } details { border-bottom: 1px solid #8884; }
img { max-width: 100%; vertical-align: middle; }
`;

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");
/** The image comes from the https page, whose host differs from device to device. */
const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; img-src https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

function trustPage(authority: LocalAuthority, origin: string): string {
  const name = escaped(rootName(authority));
  const own =
    authority.hostname === null ? "" : `, for <code>${escaped(authority.hostname)}</code>`;
  const base = escaped(origin);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trust this hub</title>
<style>${STYLE}</style>
<h1>Let this device trust the hub</h1>
<p>Browsers give a page its whole strength only over https: it then opens without the network,
stores faster, works in several tabs and may use the camera. For that, this device has to trust the
hub's own certificate authority, <b>${name}</b>. You do this once.</p>
<p>Does it already? <img src="${base}${CHECK_PATH}" alt="✗ Not yet. Follow the steps, then load this page again."></p>
<p><a href="${base}/">Open the secure page</a>. If the browser warns you, this device does not trust
the hub yet: come back here rather than going past the warning, which gives the page neither safety
nor a start without the network. (Once past it, the line above says yes, and is wrong.)</p>

<h2>1. Compare</h2>
<p>The hub showed this SHA-256 fingerprint where it was started:</p>
<p><code class="print">${fingerprintOf(authority)}</code></p>
<p>This page came over plain http, so somebody in between could have changed it and the certificate.
What counts is what your device shows for the certificate, or the SHA-256 of the downloaded file:
if it is not what the hub showed, delete it and stop here.</p>

<h2>2. What you agree to</h2>
<p>The authority can vouch for addresses of local networks (10.*, 172.16.* to 172.31.*, 192.168.*,
100.64.* to 100.127.*, link-local), for names in <code>.local</code>, <code>.lan</code>,
<code>.internal</code> and <code>.home.arpa</code>${own}, and for nothing else: not for your bank,
your mail or any other site of the web. Its key lies on the hub. Whoever takes it could pose as a
router or printer in a local network that you use. So trust it only if you trust the people who run
the hub, and take it out when you are done.</p>

<h2>3. Install</h2>
<a class="get" href="${CERTIFICATE_PATH}">Certificate (Android, computers)</a>
<a class="get" href="${PROFILE_PATH}">Profile (iPhone, iPad)</a>
${STEPS.map(stepsOf).join("\n")}

<h2>4. Go on</h2>
<p>Load this page again: the line at the top changes. Then <a href="${base}/">open the secure
page</a>. To the browser it is another site than the one over http, so the app starts there as a new
device and fetches what the others have. What only the http page has stays there until it has met
another device: let it finish first.</p>
</html>
`;
}

interface Steps {
  readonly platform: string;
  readonly install: readonly string[];
  readonly remove: string;
}

/** Menus as of late 2025; they move from version to version. */
const STEPS: readonly Steps[] = [
  {
    platform: "Android",
    install: [
      "Download the certificate above.",
      "Settings → Security & privacy → More security settings → Encryption & credentials → Install a certificate → CA certificate. (Or search the settings for “CA certificate”.)",
      "Install anyway, and choose rowmesh-authority.crt in Downloads. Android wants a screen lock for this, and says from then on that the network may be monitored.",
      "To compare: Encryption & credentials → Trusted credentials → User.",
      "Chrome, Edge and Samsung Internet now trust it. Firefox: Settings → About Firefox, tap the logo five times; then Settings → Secret settings → Use third party CA certificates.",
    ],
    remove:
      "Encryption & credentials → User credentials, or Trusted credentials → User: choose it, remove.",
  },
  {
    platform: "iPhone and iPad",
    install: [
      "Open this page in Safari and download the profile above. Allow it.",
      "Settings → Profile Downloaded. (Or Settings → General → VPN & Device Management.) To compare: More Details → the certificate. Then Install. (“Not Verified” means that nobody signed the profile.)",
      "Settings → General → About → Certificate Trust Settings: switch it on. Without this step nothing changes.",
    ],
    remove: "Settings → General → VPN & Device Management: choose it, Remove Profile.",
  },
  {
    platform: "macOS",
    install: [
      "Download the certificate and open it: Keychain Access takes it into the login keychain.",
      "Find it there and double-click it. To compare: Details, at the end. Then Trust → When using this certificate: Always Trust.",
      "Safari and Chrome now trust it, Firefox after its next start.",
    ],
    remove: "Keychain Access → login → Certificates: delete it.",
  },
  {
    platform: "Windows",
    install: [
      "Download the certificate. To compare, in a terminal: certutil -hashfile rowmesh-authority.crt SHA256",
      "Open it → Install Certificate → Current User.",
      "Place all certificates in the following store → Browse → Trusted Root Certification Authorities. Windows asks once more: Yes.",
      "Edge and Chrome now trust it, Firefox after its next start.",
    ],
    remove: "Run certmgr.msc → Trusted Root Certification Authorities → Certificates: delete it.",
  },
  {
    platform: "Linux: Chromium, Chrome",
    install: [
      "Download the certificate. To compare: sha256sum rowmesh-authority.crt",
      "Settings → Privacy and security → Security → Manage certificates → Custom → Installed by you → Trusted certificates → Import. (Older versions: Authorities → Import, and tick “websites”.)",
      "Or in a terminal, with libnss3-tools: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n rowmesh -i rowmesh-authority.crt",
    ],
    remove: "The same list → delete. Or: certutil -d sql:$HOME/.pki/nssdb -D -n rowmesh",
  },
  {
    platform: "Firefox on any computer",
    install: [
      "Download the certificate.",
      "Settings → Privacy & Security → Certificates → View Certificates → Authorities → Import. To compare: View. Then tick “Trust this CA to identify websites”.",
    ],
    remove: "The same list: choose it, Delete or Distrust.",
  },
];

const stepsOf = ({ platform, install, remove }: Steps): string => `<details>
<summary>${escaped(platform)}</summary>
<ol>${install.map((step) => `<li>${escaped(step)}`).join("\n")}</ol>
<p>To take it out again: ${escaped(remove)}</p>
</details>`;

/** A configuration profile with one certificate, unsigned, removable (Apple, "Certificate root"). */
function profileOf(authority: LocalAuthority): string {
  const name = escaped(rootName(authority));
  const machine = escaped(hostname());
  const certificate = Buffer.from(rootBytes(authority)).toString("base64");
  const id = fingerprintOf(authority).replaceAll(":", "").toLowerCase();
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadCertificateFileName</key><string>rowmesh-authority.crt</string>
      <key>PayloadContent</key><data>${certificate}</data>
      <key>PayloadDisplayName</key><string>${name}</string>
      <key>PayloadIdentifier</key><string>rowmesh.authority.${id}.root</string>
      <key>PayloadType</key><string>com.apple.security.root</string>
      <key>PayloadUUID</key><string>${uuidOf(id.slice(0, 32))}</string>
      <key>PayloadVersion</key><integer>1</integer>
    </dict>
  </array>
  <key>PayloadDisplayName</key><string>${name}</string>
  <key>PayloadDescription</key><string>Lets this device open the secure page of the hub on ${machine}. It can vouch for addresses and names of local networks only.</string>
  <key>PayloadIdentifier</key><string>rowmesh.authority.${id}</string>
  <key>PayloadRemovalDisallowed</key><false/>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadUUID</key><string>${uuidOf(id.slice(32))}</string>
  <key>PayloadVersion</key><integer>1</integer>
</dict>
</plist>
`;
}

/** The same profile each time replaces itself; 32 hex digits of the fingerprint tell it apart. */
const uuidOf = (hex: string): string =>
  hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5").toUpperCase();

/** For HTML and XML. */
const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`).replace(/\p{C}/gu, "");
