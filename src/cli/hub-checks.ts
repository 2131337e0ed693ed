/**
 * What `rowmesh doctor` looks at on a hub, as another device of the LAN sees it: its page, and each
 * of its addresses, dialled under an identity that belongs to no mesh.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import { connect } from "node:tls";
import { fingerprintOfCerthash, hubName } from "../node/hub-name.ts";
import { addressFor } from "../node/hub-name-server.ts";
import { isLoopback } from "../node/link-kind.ts";
import { decodeGenesisBody, type Invite, parseInviteLink } from "../protocol/genesis.ts";
import { type Check, fail, messageOf, ok, warn } from "./check.ts";
import { askPage } from "./join-source.ts";
import { withoutBrackets } from "./lan-host.ts";
import { askName } from "./network-checks.ts";
import type { HubStatus } from "./status-report.ts";

/** Each takes up to 8 s; a hub on three networks has nine. */
const DIALS_MAX = 12;
const TLS_MS = 5_000;
/** Clocks serve people only: they show when something was written. */
const CLOCK_APART_MS = 60_000;
const FUTURE_MS = 600_000;

/** A hub that runs here. `authority`: the root of its https certificates, PEM; null: it has none. */
export async function checkRunningHub(
  status: HubStatus,
  authority: string | null,
  nowMs: number,
): Promise<readonly Check[]> {
  const { meshId, meshName, peers, pages, addresses } = status;
  const linked = peers.filter(({ link }) => link !== "none" && link !== "relayed").length;
  const checks: Check[] = [
    meshId === null
      ? fail("mesh", "the hub belongs to none", "Start it again; it then founds one.")
      : ok("mesh", `"${meshName ?? ""}", ${linked} ${linked === 1 ? "device" : "devices"} linked`),
    checkWrites(status, nowMs),
  ];
  const lan = addresses.filter((address) => !isLoopback(address));
  if (lan.length === 0) {
    const remedy = "Start it without --host, or with an address of this machine on the LAN.";
    checks.push(warn("reach", "the hub listens on this machine only", remedy));
  }
  const page = pages.find((each) => each.startsWith("http:"));
  if (page !== undefined) checks.push((await checkPage(new URL(page), nowMs)).check);
  const secure = pages.find((each) => each.startsWith("https:"));
  if (secure !== undefined && authority !== null) {
    checks.push(await checkSecurePage(new URL(secure), authority));
  }
  return [...checks, ...(await checkAddressesOf(lan.length > 0 ? lan : addresses))];
}

/** A hub anywhere on the LAN, by the URL of its page. */
export async function checkHubAt(page: URL, nowMs: number): Promise<readonly Check[]> {
  const { check, clock, invite } = await checkPage(page, nowMs);
  if (invite === null) return [check];
  const { name } = decodeGenesisBody(invite.genesis.bodyBytes);
  const [peer] = invite.hubs.map((address) => address.split("/p2p/").at(-1));
  const own = invite.hubs.filter((address) => address.endsWith(`/p2p/${peer}`));
  return [check, clock, ok("mesh", `"${name}"`), ...(await checkAddressesOf(own))];
}

interface PageCheck {
  readonly check: Check;
  readonly clock: Check;
  readonly invite: Invite | null;
}

async function checkPage(page: URL, nowMs: number): Promise<PageCheck> {
  try {
    const { link, dateMs } = await askPage(page);
    return {
      check: ok("page", `${page.origin} answers`),
      clock: checkClock(dateMs, nowMs),
      invite: parseInviteLink(link),
    };
  } catch (error) {
    const [says = "", ...rest] = messageOf(error).split(". ");
    const remedy = rest.join(". ") || "Ask for another link.";
    return { check: fail("page", says, remedy), clock: checkClock(null, nowMs), invite: null };
  }
}

/** As a device does that trusts the hub's authority. */
function checkSecurePage(page: URL, authority: string): Promise<Check> {
  const host = withoutBrackets(page.hostname);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(page.port), ca: authority, timeout: TLS_MS });
    const end = (check: Check): void => {
      socket.destroy();
      resolve(check);
    };
    const failed = (why: string): void => {
      const remedy = "Start the hub again: it then makes a certificate for its addresses of today.";
      end(fail("https", `${page.origin} is not what a device would trust (${why})`, remedy));
    };
    socket.once("secureConnect", () => end(ok("https", `${page.origin}, for who trusts it`)));
    socket.once("timeout", () => failed("no answer"));
    socket.once("error", (error) => failed(error.message.split("\n", 1)[0] ?? ""));
  });
}

function checkClock(dateMs: number | null, nowMs: number): Check {
  const apartMs = dateMs === null ? 0 : Math.abs(dateMs - nowMs);
  if (apartMs < CLOCK_APART_MS) return ok("clock", "agrees with the hub's");
  const minutes = Math.round(apartMs / 60_000);
  return warn("clock", `${minutes} min apart from the hub's`, "Set the wrong one of the two.");
}

function checkWrites({ authors }: HubStatus, nowMs: number): Check {
  const ahead = authors.filter(({ lastWroteMs }) => (lastWroteMs ?? 0) > nowMs + FUTURE_MS);
  if (ahead.length === 0) return ok("clock", new Date(nowMs).toISOString().slice(0, 16));
  const [first] = ahead;
  const whose = first?.name ?? first?.siteId.slice(0, 12) ?? "";
  const others = ahead.length === 1 ? "" : ` and ${ahead.length - 1} more`;
  return warn(
    "clock",
    `${whose}${others} wrote later than this machine says it is`,
    "Set the clock here or there; data is not harmed, times that are shown are wrong.",
  );
}

const TRANSPORTS = [
  { name: "webrtc-direct", pattern: /\/webrtc-direct\// },
  { name: "websocket", pattern: /\/wss?\// },
  { name: "tcp", pattern: /\/tcp\/\d+\/p2p\// },
];

async function checkAddressesOf(addresses: readonly string[]): Promise<readonly Check[]> {
  const { openProber } = await import("../node/prober.ts");
  const prober = await openProber();
  const checks: Check[] = [];
  try {
    for (const address of addresses.slice(0, DIALS_MAX)) {
      const name = TRANSPORTS.find(({ pattern }) => pattern.test(address))?.name ?? "address";
      const [, , host, protocol, port] = address.split("/");
      const place = `${host}, ${port}/${protocol}`;
      try {
        const roundTripMs = await prober.probe(address);
        checks.push(ok(name, `${place} answers in ${roundTripMs} ms`));
      } catch (error) {
        const reason = messageOf(error).replace(/^ERR_\w+: /, "");
        checks.push(fail(name, `${place} does not answer (${reason})`, remedyFor(place)));
      }
    }
  } finally {
    await prober.close();
  }
  return [...checks, ...(await checkName(addresses))];
}

const remedyFor = (place: string): string =>
  `Allow ${place.split(", ")[1]} in the hub's firewall, and look whether both are in one network.`;

/** By multicast: how hubs and devices find a hub whose address changed. */
async function checkName(addresses: readonly string[]): Promise<readonly Check[]> {
  const direct = addresses.find((address) => /^\/ip4\/.*\/certhash\//.test(address));
  const certhash = /\/certhash\/([^/]+)/.exec(direct ?? "")?.[1];
  if (direct === undefined || certhash === undefined || isLoopback(direct)) return [];
  const own = addressFor(direct.split("/")[2] ?? "", networkInterfaces());
  if (own === null) return [];
  const answer = await askName(own, hubName(fingerprintOfCerthash(certhash)));
  if (answer !== null) return [ok("name", `the hub answers by multicast, at ${answer}`)];
  return [
    warn(
      "name",
      "the hub does not answer by multicast",
      "Allow UDP port 5353 on both machines, and multicast between them in the access point (“client isolation” off); until then open the hub's page when its address has changed.",
    ),
  ];
}
