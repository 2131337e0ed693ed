/**
 * The hub's https page: a second web server beside the plain one, with a certificate of the hub's
 * own authority that follows the machine's addresses and the calendar while it runs.
 *
 * @module
 */

import { hostname, networkInterfaces } from "node:os";
import { loadOrCreateAuthority } from "./authority-file.ts";
import { CommandError, complain } from "./command.ts";
import { urlHosts } from "./lan-addresses.ts";
import { withoutBrackets } from "./lan-host.ts";
import {
  certificateHosts,
  fingerprintOf,
  isOutdated,
  issueCertificate,
  type LocalAuthority,
  type ServerCertificate,
} from "./local-authority.ts";
import type { SiteServer, TlsCertificate } from "./site-server.ts";
import { createTrustPages, type TrustPages } from "./trust-page.ts";

export interface HttpsSiteOptions {
  /** The data directory, which exists. */
  readonly data: string;
  readonly host: string;
  /** Of the authority, when this run makes it. */
  readonly name: string;
  readonly open: (tls: TlsCertificate, trust: TrustPages) => Promise<SiteServer>;
}

export interface HttpsSite {
  readonly port: number;
  /** SHA-256 of the authority's certificate: `AB:CD:…` */
  readonly fingerprint: string;
  readonly trust: TrustPages;
  /** Under which other devices can open it, most promising first. */
  readonly origins: () => readonly string[];
  /** For a device that opened a page under `requestHost` (name and port). */
  readonly origin: (requestHost: string | undefined) => string;
  readonly refusedRequests: () => number;
  readonly close: () => Promise<void>;
}

const CHECK_MS = 60_000;

/** @throws CommandError, and the system's error when it cannot listen */
export async function openHttpsSite(options: HttpsSiteOptions): Promise<HttpsSite> {
  const authority = await loadOrCreateAuthority(options.data, options.name, hostname(), Date.now());
  const urlHostsNow = (): readonly string[] => urlHosts(options.host, networkInterfaces());
  const certificateHostsNow = (): readonly string[] =>
    certificateHosts(authority, urlHostsNow(), hostname());
  const first = await issueCertificate(authority, certificateHostsNow(), Date.now());
  const hosts = (): readonly string[] => {
    const named = certificateHostsNow();
    return urlHostsNow().filter((host) => named.includes(withoutBrackets(host)));
  };
  const leftOut = urlHostsNow().filter((host) => !hosts().includes(host));
  if (hosts().length === 0) {
    throw new CommandError(
      `--https is for addresses of local networks, and ${options.host} is none. Choose another with --host.`,
    );
  }
  if (leftOut.length > 0) {
    complain(
      `rowmesh hub: no https for ${leftOut.join(", ")}: the authority vouches for no public address`,
    );
  }
  let port = 0;
  const origin = (requestHost: string | undefined): string => {
    const asked = hostOf(requestHost);
    const isNamed = asked !== null && certificateHostsNow().includes(withoutBrackets(asked));
    return `https://${isNamed ? asked : hosts()[0]}:${port}`;
  };
  const trust = createTrustPages({ authority, secureOrigin: origin });
  const server = await options.open(first, trust);
  ({ port } = server);
  const stopRenewing = keepRenewed(authority, first, certificateHostsNow, server);
  return {
    port,
    fingerprint: fingerprintOf(authority),
    trust,
    origins: () => hosts().map((host) => `https://${host}:${port}`),
    origin,
    refusedRequests: server.refusedRequests,
    close: () => {
      stopRenewing();
      return server.close();
    },
  };
}

/** `192.168.1.5:4380` → `192.168.1.5`; `[::1]:4380` → `[::1]`; null: no host. */
function hostOf(requestHost: string | undefined): string | null {
  try {
    return new URL(`http://${requestHost ?? ""}`).hostname;
  } catch {
    return null;
  }
}

/** @returns what ends this */
function keepRenewed(
  authority: LocalAuthority,
  first: ServerCertificate,
  hostsNow: () => readonly string[],
  { replaceCertificate }: SiteServer,
): () => void {
  const renew = createRenewal(authority, first, replaceCertificate);
  let saidLast = "";
  const timer = setInterval(() => {
    renew(hostsNow(), Date.now()).catch((error: unknown) => {
      // Once, and not each minute: the old certificate serves on.
      const says = error instanceof Error ? error.message : String(error);
      if (says !== saidLast) complain(`rowmesh hub: no new certificate for https: ${says}`);
      saidLast = says;
    });
  }, CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * What gives the server another certificate if it needs one, `hosts` and the time being what they
 * are now. Rejects as {@link issueCertificate} does.
 */
export function createRenewal(
  authority: LocalAuthority,
  first: ServerCertificate,
  replace: (certificate: ServerCertificate) => void,
): (hosts: readonly string[], nowMs: number) => Promise<void> {
  let current = first;
  return async (hosts, nowMs) => {
    if (!isOutdated(current, hosts, nowMs)) return;
    current = await issueCertificate(authority, hosts, nowMs);
    replace(current);
  };
}
