/** Tabs of one origin and one database that come and go in every way, and what they say of their calls. */
import type { Page } from "playwright-core";
import type { Random } from "../../src/seams.ts";
import type { Chromium } from "../fixtures/chromium.ts";
import type { CrashReport } from "./ledger.ts";
import type { Told } from "./tabs-page/page.ts";

const TABS_MAX = 5;
const PATIENCE_MS = 40_000;
/** More tell nothing more. */
const FAULTS_MAX = 20;
/** Between a commit and what other tabs hear of it, where it is to be long. */
const LATE_MS = 5;

interface Tab {
  /** Of this life of a page: its calls begin with it. */
  readonly tag: string;
  readonly page: Page;
  readonly schema: number;
  /** The app closes its mesh. */
  closes: boolean;
  /** Its worker is ended. */
  endsWorker: boolean;
}

export interface RoomOptions {
  readonly chromium: Chromium;
  readonly url: string;
  /** To the mesh of a hub. */
  readonly join: string;
  readonly storage: "opfs" | "indexeddb";
  readonly random: Random;
}

export interface Room {
  /** Whose page is there and was not told to end. */
  readonly tabs: ReadonlySet<Tab>;
  /** What may not happen and did. */
  readonly faults: string[];
  /** What was done to whom: to be read when something did. */
  readonly trace: readonly string[];
  /** At least so many, up to the page itself. */
  readonly fill: (count: number) => Promise<void>;
  /** All who were on their way are there. */
  readonly settle: () => Promise<void>;
  /** One thing happens to one of them. */
  readonly act: () => Promise<void>;
  /** Of the newest schema: it may lead. */
  readonly newest: () => Promise<Tab>;
  readonly judge: (legsById: ReadonlyMap<string, number>) => Verdict;
  /** Calls that were done, so far. */
  readonly done: () => number;
}

/** By call. */
export interface Verdict {
  readonly done: number;
  readonly lost: readonly string[];
  readonly twice: readonly string[];
  readonly halves: readonly string[];
  /** Refused, and there all the same. */
  readonly ghosts: readonly string[];
  readonly unanswered: readonly string[];
  /** With a code that nothing accounts for. */
  readonly misnamed: readonly string[];
  /** Calls that wrote. */
  readonly changesets: number;
}

/** Some more often than others. */
const ACTIONS = [
  "open",
  "open",
  "open",
  "open",
  "close",
  "close mesh",
  "crash",
  "crash",
  "kill",
  "freeze",
  "stop",
  "go away",
  "reload",
  "newer schema",
  "end worker",
  "offline",
] as const;
type Action = (typeof ACTIONS)[number];

export const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

export async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function openRoom(options: RoomOptions): Promise<Room> {
  const { chromium, url, join, storage, random } = options;
  const { context } = chromium;
  const name = `${storage}-${random.below(1_000_000)}`;
  const tabs = new Set<Tab>();
  const lives = new Map<string, Tab>();
  const byPage = new Map<Page, Tab>();
  const opening = new Set<Promise<void>>();
  const calls = new Map<string, string>();
  const faults: string[] = [];
  const trace: string[] = [];
  let pagesLoading = 0;
  let schema = 1;
  let done = 0;

  const note = (...words: readonly unknown[]): void => {
    trace.push(`${Math.round(performance.now())} ${words.join(" ")}`);
  };
  const fault = (page: Page, message: string): void => {
    if (faults.length < FAULTS_MAX) faults.push(`${byPage.get(page)?.tag}: ${message}`);
    note("FAULT", byPage.get(page)?.tag, message);
  };

  await context.exposeBinding("tell", ({ page }, line: string) => {
    const told = JSON.parse(line) as Told;
    switch (told.type) {
      case "done":
        done++;
        calls.set(told.call, "done");
        return;
      case "refused":
        calls.set(told.call, told.code);
        note(told.call, told.code);
        return;
      case "fault":
        fault(page, told.message);
    }
  });

  async function newPage(): Promise<Page> {
    const page = await context.newPage();
    page.on("pageerror", (error) => fault(page, String(error.stack)));
    page.on("console", (message) => {
      if (message.text().includes("Uncaught")) fault(page, message.text());
    });
    page.on("crash", () => {
      const tab = byPage.get(page);
      if (tab !== undefined && tabs.delete(tab)) note("crashed too", tab.tag);
    });
    return page;
  }

  async function live(page: Page, loaded: () => void): Promise<void> {
    const tag = `${name}-${lives.size}`;
    const lateMs = lives.size % 2 === 0 ? LATE_MS : 0;
    const tab: Tab = { tag, page, schema, closes: false, endsWorker: false };
    lives.set(tag, tab);
    byPage.set(page, tab);
    await page.goto(url);
    await page.waitForFunction(() => "tabs" in globalThis);
    // From now on it may end at any moment.
    tabs.add(tab);
    loaded();
    const life = { name, storage, schema: tab.schema, join, tag, lateMs };
    const opened = await within(
      `opening of ${tag}`,
      page.evaluate((given) => globalThis.tabs.live(given), life),
    );
    note("opened", tag, opened);
    // Another's schema may have become newer meanwhile.
    if (opened === "open" || (opened === "ERR_SCHEMA_NEWER" && tab.schema < schema)) return;
    fault(page, `opening: ${opened}`);
  }

  function open(used?: Page): void {
    let isLoading = true;
    pagesLoading++;
    const loaded = (): void => {
      if (isLoading) pagesLoading--;
      isLoading = false;
    };
    const begin = async (): Promise<void> => {
      const page = used ?? (await newPage());
      try {
        await live(page, loaded);
      } catch (error) {
        const tab = byPage.get(page);
        // Else it was ended meanwhile.
        if (tab !== undefined && tabs.delete(tab)) fault(page, String(error));
      } finally {
        loaded();
      }
    };
    const promise = begin().finally(() => opening.delete(promise));
    opening.add(promise);
  }

  async function fill(count: number): Promise<void> {
    while (tabs.size + pagesLoading < count) open();
    const isOnItsWay = (): boolean => tabs.size < count && pagesLoading > 0;
    while (isOnItsWay()) await pause(10);
  }

  const settle = async (): Promise<void> => {
    while (opening.size > 0) await Promise.all(opening);
  };

  /** As if by the system: whoever lives in it. */
  async function someProcess(): Promise<number | undefined> {
    const session = await context.browser()?.newBrowserCDPSession();
    const { processInfo = [] } = (await session?.send("SystemInfo.getProcessInfo")) ?? {};
    await session?.detach();
    const ids = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
    return ids[random.below(Math.max(1, ids.length))];
  }

  async function doTo(action: Action, tab: Tab): Promise<void> {
    const { page } = tab;
    switch (action) {
      case "open":
        if (tabs.size + pagesLoading < TABS_MAX) open();
        return;
      case "newer schema":
        if (tabs.size >= TABS_MAX) {
          tabs.delete(tab);
          await page.close();
        }
        schema++;
        return open();
      case "close":
        tabs.delete(tab);
        return page.close();
      case "close mesh":
        tab.closes = true;
        tabs.delete(tab);
        await page.evaluate(() => globalThis.tabs.close());
        if (random.below(2) === 0) return open(page);
        return page.close();
      case "crash":
        tabs.delete(tab);
        return crash(page);
      case "kill":
        signal(await someProcess(), "SIGKILL");
        return pause(50);
      case "freeze": {
        const session = await context.newCDPSession(page);
        await session.send("Page.setWebLifecycleState", { state: "frozen" });
        await pause(random.below(800));
        await session.send("Page.setWebLifecycleState", { state: "active" });
        return session.detach();
      }
      case "stop": {
        const pid = await someProcess();
        signal(pid, "SIGSTOP");
        await pause(random.below(800));
        return signal(pid, "SIGCONT");
      }
      case "go away":
        tabs.delete(tab);
        await page.goto("about:blank");
        await pause(random.below(200));
        if (random.below(2) === 0) return page.close();
        await page.goBack();
        return open(page);
      case "reload":
        tabs.delete(tab);
        return open(page);
      case "end worker":
        tab.endsWorker = true;
        return page.evaluate(() => globalThis.tabs.endWorker());
      case "offline":
        return page.evaluate((online) => globalThis.tabs.online(online), random.below(2) === 0);
    }
  }

  async function act(): Promise<void> {
    const action = ACTIONS[random.below(ACTIONS.length)] ?? "open";
    const all = [...tabs];
    const tab = all[random.below(Math.max(1, all.length))];
    if (tab === undefined) return;
    note(action, tab.tag);
    try {
      // What dies under the action may leave it without an answer.
      const died = new Promise<void>((resolve) => void tab.page.once("crash", () => resolve()));
      await within(`${action} ${tab.tag}`, Promise.race([doTo(action, tab), died]));
    } catch (error) {
      // A page that was killed meanwhile answers nothing.
      if (String(error).includes("hangs")) fault(tab.page, String(error));
      // One that did not go would write on, and nobody would wait for it.
      if (!tabs.has(tab))
        await Promise.race([tab.page.close().catch(() => undefined), pause(2_000)]);
    }
  }

  async function newest(): Promise<Tab> {
    for (;;) {
      await settle();
      const found = [...tabs].find((tab) => tab.schema === schema);
      if (found !== undefined) return found;
      open();
    }
  }

  function judge(legsById: ReadonlyMap<string, number>): Verdict {
    const all = new Map(calls);
    // Of tabs that ended before they said so.
    for (const id of legsById.keys()) if (!all.has(callOf(id))) all.set(callOf(id), "unsaid");
    const lists = { lost: [], halves: [], ghosts: [], unanswered: [], misnamed: [] } as Record<
      "lost" | "halves" | "ghosts" | "unanswered" | "misnamed",
      string[]
    >;
    let changesets = 0;
    for (const [call, told] of all) {
      const tab = lives.get(call.split(".")[0] ?? "");
      const rows = rowsOf(call);
      const written = rows.filter((id) => legsById.has(id)).length;
      if (written > 0) changesets++;
      if (written > 0 && written < rows.length) lists.halves.push(call);
      if (told === "unsaid") {
        if (tab !== undefined && tabs.has(tab)) lists.unanswered.push(call);
        continue;
      }
      if (told === "done") {
        if (written === 0) lists.lost.push(call);
        continue;
      }
      if (tab === undefined || !isAccountedFor(told, tab)) lists.misnamed.push(`${call} ${told}`);
      // It says that it does not know.
      if (written > 0 && told !== "ERR_STORAGE_LOST") lists.ghosts.push(`${call} ${told}`);
    }
    const twice = [...legsById].filter(([, legs]) => legs !== LEGS).map(([id]) => id);
    return { ...lists, twice, done, changesets };
  }

  function isAccountedFor(code: string, tab: Tab): boolean {
    switch (code) {
      case "ERR_TAB_LOST":
        return true;
      case "ERR_CLOSED":
        return tab.closes;
      case "ERR_SCHEMA_NEWER":
        return tab.schema < schema;
      case "ERR_STORAGE_LOST":
        return tab.endsWorker || tab.schema < schema;
      default:
        return false;
    }
  }

  return { tabs, faults, trace, fill, settle, act, newest, judge, done: () => done };
}

/** Of a row that was written once. */
const LEGS = 2;

const callOf = (id: string): string => id.split(" ")[0] ?? "";

/** The first two kinds of calls write one row, the others two. */
const rowsOf = (call: string): readonly string[] =>
  Number(call.split(".")[1]) < 2 ? [call] : [call, `${call} 1`];

async function crash(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  // Nobody is left to answer.
  session.send("Page.crash").catch(() => undefined);
  await crashed;
}

function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    // Ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** As other kill loops report it. */
export const reportOf = (place: string, kills: number, verdict: Verdict): CrashReport => ({
  place,
  kills,
  rowsAcknowledged: verdict.done,
  rowsLost: verdict.lost.length + verdict.twice.length + verdict.ghosts.length,
  versionsAcknowledged: verdict.changesets,
  versionsLost: 0,
  versionsReleased: 0,
  versionsReleasedTwice: 0,
  halfTransactions: verdict.halves.length,
  databasesDamaged: 0,
  syncStalls: verdict.unanswered.length,
});
