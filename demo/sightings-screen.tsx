/**
 * The list of sightings: newest first, with a search over animals, places and notes.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { habitatIcon, Icon } from "./icons.tsx";
import { ImportSheet } from "./import-sheet.tsx";
import {
  COUNT_FOUND_SIGHTINGS,
  COUNT_SIGHTINGS,
  FOUND_SIGHTINGS_PAGE,
  likePattern,
  SIGHTINGS_PAGE,
  type ListedSighting,
} from "./list-queries.ts";
import { useLiveRows } from "./live-rows.ts";
import { LongList } from "./long-list.tsx";
import { ObserverBadge } from "./observer-badge.tsx";
import { SearchBox } from "./search-box.tsx";
import { SightingSheet } from "./sighting-sheet.tsx";
import { count, moment } from "./words.ts";

const ROW_HEIGHT = 76;

type Open =
  | { readonly type: "nothing" }
  | { readonly type: "new" }
  | { readonly type: "import" }
  | { readonly type: "edit"; readonly sighting: ListedSighting };

export function SightingsScreen(props: { mesh: Mesh }): JSX.Element {
  const { mesh } = props;
  const [search, setSearch] = useState("");
  const [open, setOpen] = useState<Open>({ type: "nothing" });
  const searching = search.trim() !== "";
  const params = searching ? [likePattern(search)] : [];
  const answer = useLiveRows<{ n: number }>(
    mesh,
    searching ? COUNT_FOUND_SIGHTINGS : COUNT_SIGHTINGS,
    params,
  );
  const rowCount = answer?.rows[0]?.n ?? null;
  const close = (): void => setOpen({ type: "nothing" });
  return (
    <section aria-labelledby="sightings-title" data-testid="sightings-screen">
      <header class="screen-head">
        <div class="screen-title">
          <h1 id="sightings-title">Sightings</h1>
          {rowCount !== null && (
            <p class="quiet" data-testid="sighting-count" data-count={rowCount}>
              {searching
                ? count(rowCount, "match", "matches")
                : count(rowCount, "entry", "entries")}
            </p>
          )}
        </div>
        <div class="screen-actions">
          <button
            type="button"
            class="button button-quiet"
            data-testid="open-import"
            onClick={() => setOpen({ type: "import" })}
          >
            <Icon name="upload" /> Import
          </button>
          <button
            type="button"
            class="button button-main floating"
            data-testid="add-sighting"
            data-shortcut="n"
            onClick={() => setOpen({ type: "new" })}
          >
            <Icon name="plus" /> <span>New sighting</span>
          </button>
        </div>
        <SearchBox label="Search animals, places and notes" value={search} onChange={setSearch} />
      </header>
      {rowCount === 0 ? (
        <NoSightings searching={searching} onImport={() => setOpen({ type: "import" })} />
      ) : (
        <LongList<ListedSighting>
          mesh={mesh}
          label="Sightings, newest first"
          pageSql={searching ? FOUND_SIGHTINGS_PAGE : SIGHTINGS_PAGE}
          params={params}
          rowCount={rowCount ?? 0}
          rowHeight={ROW_HEIGHT}
          draw={(sighting) => (
            <SightingRow sighting={sighting} onOpen={() => setOpen({ type: "edit", sighting })} />
          )}
        />
      )}
      {open.type === "new" && <SightingSheet mesh={mesh} sighting={null} onClose={close} />}
      {open.type === "edit" && (
        <SightingSheet mesh={mesh} sighting={open.sighting} onClose={close} />
      )}
      {open.type === "import" && <ImportSheet mesh={mesh} onClose={close} />}
    </section>
  );
}

function SightingRow(props: { sighting: ListedSighting; onOpen: () => void }): JSX.Element {
  const { sighting } = props;
  const latin = [sighting.genus, sighting.species].filter(Boolean).join(" ");
  return (
    <button
      type="button"
      class="row"
      data-testid="sighting-row"
      data-id={sighting.id}
      onClick={props.onOpen}
    >
      <span class="tile" aria-hidden="true">
        <Icon name={habitatIcon(sighting.habitat)} size={22} />
        <span class="tile-count">{sighting.head_count}×</span>
      </span>
      <span class="row-main">
        <span class="row-title">
          <span class="hidden-label">{sighting.head_count} × </span>
          <strong>{sighting.animal_name ?? "Removed animal"}</strong>
          {latin !== "" && <em>{latin}</em>}
        </span>
        <span class="row-detail">
          {moment(sighting.seen_at_ms)}
          {sighting.place && ` · ${sighting.place}`}
          {sighting.note && ` · ${sighting.note}`}
        </span>
      </span>
      <ObserverBadge siteId={sighting.observer} name={sighting.observer_name} />
    </button>
  );
}

function NoSightings(props: { searching: boolean; onImport: () => void }): JSX.Element {
  if (props.searching) {
    return (
      <div class="empty" data-testid="no-matches">
        <Icon name="search" size={40} />
        <h2>Nothing matches</h2>
        <p>Try fewer letters, or the name of a place.</p>
      </div>
    );
  }
  return (
    <div class="empty" data-testid="no-sightings">
      <Icon name="binoculars" size={48} />
      <h2>The notebook is empty</h2>
      <p>
        Write down the first animal you see. It stays on this device, with or without a network, and
        reaches the others when you meet.
      </p>
      <button type="button" class="button button-quiet" onClick={props.onImport}>
        Or bring a list along
      </button>
    </div>
  );
}
