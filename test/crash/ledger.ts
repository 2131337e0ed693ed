/** What a replica said it holds, and what others got from it, against what is found after each kill. */
import { appendFileSync } from "node:fs";

/** Read from a storage that nobody has open. */
export interface Found {
  /** What `PRAGMA integrity_check` says. */
  readonly integrity: string;
  /** Of rows that are ever acknowledged. */
  readonly rows: readonly string[];
  /** "site version hash" of the log. */
  readonly versions: readonly string[];
  /** Transactions of which some rows are there and some are not. */
  readonly halves: number;
}

export interface CrashReport {
  readonly place: string;
  readonly kills: number;
  readonly rowsAcknowledged: number;
  readonly rowsLost: number;
  /** Own ones, and those of others that a receipt named. */
  readonly versionsAcknowledged: number;
  readonly versionsLost: number;
  readonly versionsReleased: number;
  /** Of which others saw more than one content, or the author itself holds another. */
  readonly versionsReleasedTwice: number;
  readonly halfTransactions: number;
  readonly databasesDamaged: number;
  /** Lives in which nothing new reached a peer. */
  readonly syncStalls: number;
}

/** What every test of kills ends with. */
export const NOTHING_LOST: Partial<CrashReport> = {
  rowsLost: 0,
  versionsLost: 0,
  versionsReleasedTwice: 0,
  halfTransactions: 0,
  databasesDamaged: 0,
  syncStalls: 0,
};

/** How often each is killed; `CRASH_KILLS` says otherwise. */
export const KILLS: number = Number(process.env["CRASH_KILLS"] ?? 10);

/** Of the moments of the kills, and of what is written. */
export const SEED: number = Number(process.env["CRASH_SEED"] ?? 1);

/** All that others got, of every replica: what a peer remembers. */
export interface Releases {
  readonly add: (site: string, version: number, hash: string) => void;
  readonly hashesOf: (place: string) => ReadonlySet<string>;
  /** "site version". */
  readonly of: (site: string) => readonly string[];
}

export function createReleases(): Releases {
  const hashes = new Map<string, Set<string>>();
  return {
    add: (site, version, hash) => {
      const place = `${site} ${version}`;
      const known = hashes.get(place);
      if (known === undefined) hashes.set(place, new Set([hash]));
      else known.add(hash);
    },
    hashesOf: (place) => hashes.get(place) ?? new Set(),
    of: (site) => [...hashes.keys()].filter((place) => place.startsWith(`${site} `)),
  };
}

export interface Ledger {
  readonly acknowledgeRow: (id: string) => void;
  readonly acknowledgeVersion: (site: string, version: number, hash: string) => void;
  /** All of an author's versions up to it. */
  readonly acknowledgeHead: (site: string, head: number) => void;
  readonly acknowledged: () => { readonly rows: number; readonly versions: number };
  /** After one more kill. `own` is the author whose storage it is, once known. */
  readonly check: (found: Found, own: string | null) => void;
  /** Counts one more kill. */
  readonly kill: () => void;
  /** Counts one more life in which nothing new reached a peer. */
  readonly stall: () => void;
  readonly report: (own: string) => CrashReport;
}

export function createLedger(place: string, releases: Releases): Ledger {
  const rows = new Set<string>();
  const versions = new Map<string, string>();
  const heads = new Map<string, number>();
  const lostRows = new Set<string>();
  const lostVersions = new Set<string>();
  let kills = 0;
  let halfTransactions = 0;
  let databasesDamaged = 0;
  let syncStalls = 0;

  function check(found: Found, own: string | null): void {
    if (found.integrity !== "ok") databasesDamaged++;
    halfTransactions += found.halves;
    const held = new Set(found.rows);
    for (const row of rows) if (!held.has(row)) lostRows.add(row);
    const logged = new Map<string, string>();
    for (const line of found.versions) {
      const [site, version, hash = ""] = line.split(" ");
      logged.set(`${site} ${version}`, hash);
    }
    for (const [version, hash] of versions) {
      if (logged.get(version) !== hash) lostVersions.add(version);
    }
    for (const [site, head] of heads) {
      for (let version = 1; version <= head; version++) {
        if (!logged.has(`${site} ${version}`)) lostVersions.add(`${site} ${version}`);
      }
    }
    if (own === null) return;
    for (const version of releases.of(own)) {
      const hash = logged.get(version);
      if (hash === undefined || !releases.hashesOf(version).has(hash)) lostVersions.add(version);
      // Two contents under one version, whether the second has reached anybody yet or not.
      if (hash !== undefined) releases.add(own, Number(version.split(" ")[1]), hash);
    }
  }

  return {
    acknowledgeRow: (id) => void rows.add(id),
    acknowledgeVersion: (site, version, hash) => void versions.set(`${site} ${version}`, hash),
    acknowledgeHead: (site, head) => void heads.set(site, Math.max(head, heads.get(site) ?? 0)),
    acknowledged: () => ({ rows: rows.size, versions: versions.size }),
    check,
    kill: () => void kills++,
    stall: () => void syncStalls++,
    report: (own) => {
      const released = releases.of(own);
      return {
        place,
        kills,
        rowsAcknowledged: rows.size,
        rowsLost: lostRows.size,
        versionsAcknowledged: versions.size + [...heads.values()].reduce((sum, n) => sum + n, 0),
        versionsLost: lostVersions.size,
        versionsReleased: released.length,
        versionsReleasedTwice: released.filter((version) => releases.hashesOf(version).size > 1)
          .length,
        halfTransactions,
        databasesDamaged,
        syncStalls,
      };
    },
  };
}

/** As a line of JSON at the end of the file that `CRASH_REPORT` names. */
export function keepReport(report: CrashReport): CrashReport {
  const path = process.env["CRASH_REPORT"];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(report)}\n`);
  return report;
}
