/**
 * Who wrote what: every device that ever wrote here, its changes and its sightings.
 *
 * @module
 */

import type { Mesh, MeshStatus } from "rowmesh";
import type { JSX } from "preact";
import { WROTE_BY_OBSERVER } from "./list-queries.ts";
import { useLiveRows } from "./live-rows.ts";
import { ObserverBadge } from "./observer-badge.tsx";
import { ago, count, nameOr } from "./words.ts";

type Wrote = {
  readonly site_id: string | null;
  readonly name: string | null;
  readonly sightings: number;
};

const NAMES = "SELECT site_id, name, 0 AS sightings FROM observer LIMIT 1000";

export function ObserversCard(props: { mesh: Mesh; status: MeshStatus }): JSX.Element {
  const { mesh, status } = props;
  const wrote = useLiveRows<Wrote>(mesh, WROTE_BY_OBSERVER, [])?.rows ?? [];
  const names = useLiveRows<Wrote>(mesh, NAMES, [])?.rows ?? [];
  const nameOfSite = new Map(names.map((row) => [row.site_id, row.name]));
  const sightingsBySite = new Map(wrote.map((row) => [row.site_id, row.sightings]));
  const most = Math.max(1, ...wrote.map((row) => row.sightings));
  return (
    <article class="card" aria-labelledby="observers-title">
      <h2 id="observers-title">Who wrote what</h2>
      <ul class="entries" data-testid="observers">
        {status.authors.map((author) => {
          const sightings = sightingsBySite.get(author.siteId) ?? 0;
          const name = nameOfSite.get(author.siteId) ?? author.name;
          return (
            <li key={author.siteId} class="entry" data-testid="observer">
              <ObserverBadge siteId={author.siteId} name={name} large />
              <span class="entry-main">
                <span class="entry-title">
                  <strong>{nameOr(name, author.siteId)}</strong>
                  {author.local && <span class="chip">this device</span>}
                </span>
                <span class="row-detail">
                  {count(sightings, "sighting")} · {count(author.version, "change")}
                  {author.lastWroteMs !== null && ` · ${ago(author.lastWroteMs)}`}
                </span>
                <span class="share" aria-hidden="true">
                  <span style={{ width: `${(sightings / most) * 100}%` }} />
                </span>
              </span>
            </li>
          );
        })}
      </ul>
    </article>
  );
}
