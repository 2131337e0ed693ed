/** A LAN with a hub and browsers on it, and the questions that scenarios ask of them. */
import type { TlsCertificate } from "../../src/cli/site-server.ts";
import type { PeerStatus } from "../../src/node/api.ts";
import {
  type BrowserOptions,
  createHub,
  type Hub,
  type LabBrowser,
  type PublicSite,
  servePublicSite,
  startBrowser,
} from "./hosts.ts";
import { type Lan, type LanHost, openLan } from "./lan.ts";

/** After which the lab gives up on anything. The bounds of scenarios are narrower. */
const WAIT_MS = 90_000;
const POLL_MS = 50;

export interface LabOptions {
  /** The built page. */
  readonly site: string;
  /** The path of Chromium. */
  readonly chromium: string;
  readonly tell: (text: string) => void;
}

interface AddBrowserOptions extends Partial<Omit<BrowserOptions, "executable">> {
  /** With others on it, which end when it does; left out: a host of its own. */
  readonly host?: LanHost;
}

export interface Lab {
  readonly lan: Lan;
  readonly hub: Hub;
  readonly tell: (text: string) => void;
  /** All that were started, in order. */
  readonly browsers: readonly LabBrowser[];
  /** Running when it resolves, on a host of its own; `joins` as in {@link createHub}. */
  readonly addHub: (joins: string) => Promise<Hub>;
  /** Its page is not open yet. */
  readonly addBrowser: (options?: AddBrowserOptions) => Promise<LabBrowser>;
  /** Serves the lab's page from an https origin that is not the hub's. */
  readonly addPublicSite: (tls: TlsCertificate) => Promise<PublicSite>;
  /** Single notes, each a changeset of its own; the lab counts them. */
  readonly write: (notes: number, browsers?: readonly LabBrowser[]) => Promise<void>;
  /** Until each of these holds every note written so far. @returns milliseconds */
  readonly synced: (browsers?: readonly LabBrowser[]) => Promise<number>;
  /** Until every two of these have a direct link, and each one to the hub. @returns milliseconds */
  readonly linked: (browsers?: readonly LabBrowser[]) => Promise<number>;
  /** Until the rows of all are the same. */
  readonly agreed: (browsers?: readonly LabBrowser[]) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** With the hub running and this many browsers started, their pages open, linked and in step. */
export async function openLab(options: LabOptions, browserCount: number): Promise<Lab> {
  const lan = openLan();
  const hub = createHub(lan.addHost("hub"), options.site);
  const browsers: LabBrowser[] = [];
  const hubs = [hub];
  let written = 0;

  const addBrowser: Lab["addBrowser"] = async ({ trusts = null, args = [], host } = {}) => {
    const name = `b${browsers.length + 1}`;
    const { chromium: executable } = options;
    const place = host ?? lan.addHost(name);
    const browser = await startBrowser(place, name, { executable, trusts, args });
    browsers.push(browser);
    return browser;
  };
  const lab: Lab = {
    lan,
    hub,
    tell: options.tell,
    browsers,
    addBrowser,
    addHub: async (joins) => {
      const added = createHub(lan.addHost(`hub${hubs.length + 1}`), options.site, joins);
      hubs.push(added);
      await added.start();
      return added;
    },
    addPublicSite: (tls) => servePublicSite(lan.addSite("site"), options.site, tls),
    write: async (notes, writers = browsers) => {
      await Promise.all(writers.map((writer) => writer.write(notes)));
      written += notes * writers.length;
    },
    synced: (of = browsers) =>
      until(
        "every browser holds every note",
        async () =>
          (await all(of, ({ count }) => count())).every(({ single }) => single === written),
        async () => `${written} written, held: ${JSON.stringify(await all(of, (b) => b.count()))}`,
      ),
    linked: (of = browsers) =>
      until(
        "every two browsers, and each with the hub, are linked",
        async () => {
          const wanted = [hub.peerId(), ...of.map(({ peerId }) => peerId())];
          const linkedOf = await all(of, directPeers);
          return of.every(({ peerId }, at) =>
            wanted.every((peer) => peer === peerId() || linkedOf[at]?.has(peer)),
          );
        },
        () => describe(of),
      ),
    agreed: async (of = browsers) => {
      await until("the rows of all are the same", async () => {
        const hashes = await all(of, ({ stateHash }) => stateHash());
        return new Set(hashes).size === 1;
      });
    },
    close: async () => {
      await Promise.all(browsers.map((browser) => browser.close()));
      await Promise.all(hubs.map(({ close }) => close()));
      lan.close();
    },
  };
  try {
    await hub.start();
    for (let i = 0; i < browserCount; i++) await addBrowser();
    await all(browsers, ({ open }) => open(hub.url()));
    await lab.linked();
    await lab.write(1);
    await lab.synced();
    return lab;
  } catch (error) {
    await lab.close();
    throw error;
  }
}

const all = <Answer>(
  browsers: readonly LabBrowser[],
  ask: (browser: LabBrowser) => Promise<Answer>,
): Promise<Answer[]> => Promise.all(browsers.map(ask));

/** As `status()` tells. */
export async function directPeers({ status }: LabBrowser): Promise<ReadonlySet<string>> {
  const { peers } = await status();
  return new Set(peers.filter(isDirect).map(({ peerId }) => peerId));
}

const isDirect = ({ link }: PeerStatus): boolean => link !== "none" && link !== "relayed";

/** For the message of a failure. */
export async function describe(browsers: readonly LabBrowser[]): Promise<string> {
  const states = await all(browsers, async ({ name, peerId, status }) => {
    const { peers, notices } = await status();
    const links = peers.map((peer) => `${peer.peerId.slice(-6)}:${peer.link}`);
    return `\n  ${name} ${peerId().slice(-6)}: ${links.join(" ")} ${notices.join(" ")}`;
  });
  return states.join("");
}

/** @returns milliseconds from the call until it holds */
export async function until(
  what: string,
  holds: () => Promise<boolean>,
  explain: () => Promise<string> = async () => "",
  waitMs: number = WAIT_MS,
): Promise<number> {
  const startMs = performance.now();
  while (!(await holds())) {
    if (performance.now() - startMs > waitMs) {
      throw new Error(`not within ${waitMs / 1_000} s: ${what} ${await explain()}`);
    }
    await pause(POLL_MS);
  }
  return Math.round(performance.now() - startMs);
}

export const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
