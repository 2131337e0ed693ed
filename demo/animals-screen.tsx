/**
 * The animals of the notebook, by name.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { AnimalSheet } from "./animal-sheet.tsx";
import { habitatIcon, Icon } from "./icons.tsx";
import {
  COUNT_FOUND_ANIMALS,
  FOUND_ANIMALS_PAGE,
  likePattern,
  type ListedAnimal,
} from "./list-queries.ts";
import { useLiveRows } from "./live-rows.ts";
import { LongList } from "./long-list.tsx";
import { ObserverBadge } from "./observer-badge.tsx";
import { SearchBox } from "./search-box.tsx";
import { count, number } from "./words.ts";

const ROW_HEIGHT = 76;

type Open =
  | { readonly type: "nothing" }
  | { readonly type: "new" }
  | { readonly type: "edit"; readonly animal: ListedAnimal };

export function AnimalsScreen(props: { mesh: Mesh }): JSX.Element {
  const { mesh } = props;
  const [search, setSearch] = useState("");
  const [open, setOpen] = useState<Open>({ type: "nothing" });
  const params = [likePattern(search)];
  const answer = useLiveRows<{ n: number }>(mesh, COUNT_FOUND_ANIMALS, params);
  const rowCount = answer?.rows[0]?.n ?? null;
  const close = (): void => setOpen({ type: "nothing" });
  return (
    <section aria-labelledby="animals-title" data-testid="animals-screen">
      <header class="screen-head">
        <div class="screen-title">
          <h1 id="animals-title">Animals</h1>
          {rowCount !== null && <p class="quiet">{count(rowCount, "kind")}</p>}
        </div>
        <div class="screen-actions">
          <button
            type="button"
            class="button button-main floating"
            data-testid="add-animal"
            data-shortcut="n"
            onClick={() => setOpen({ type: "new" })}
          >
            <Icon name="plus" /> <span>New animal</span>
          </button>
        </div>
        <SearchBox label="Search animals" value={search} onChange={setSearch} />
      </header>
      {rowCount === 0 ? (
        <div class="empty">
          <Icon name="paw" size={48} />
          <h2>{search.trim() === "" ? "No animals yet" : "Nothing matches"}</h2>
          <p>Animals appear here with the first sighting, or when you add them.</p>
        </div>
      ) : (
        <LongList<ListedAnimal>
          mesh={mesh}
          label="Animals by name"
          pageSql={FOUND_ANIMALS_PAGE}
          params={params}
          rowCount={rowCount ?? 0}
          rowHeight={ROW_HEIGHT}
          draw={(animal) => (
            <AnimalRow animal={animal} onOpen={() => setOpen({ type: "edit", animal })} />
          )}
        />
      )}
      {open.type === "new" && <AnimalSheet mesh={mesh} animal={null} onClose={close} />}
      {open.type === "edit" && <AnimalSheet mesh={mesh} animal={open.animal} onClose={close} />}
    </section>
  );
}

function AnimalRow(props: { animal: ListedAnimal; onOpen: () => void }): JSX.Element {
  const { animal } = props;
  const latin = [animal.genus, animal.species].filter(Boolean).join(" ");
  const detail = [animal.habitat, animal.diet, `seen ${number(animal.sightings)}×`];
  return (
    <button
      type="button"
      class="row"
      data-testid="animal-row"
      data-id={animal.id}
      onClick={props.onOpen}
    >
      <span class="tile" aria-hidden="true">
        <Icon name={habitatIcon(animal.habitat)} size={26} />
      </span>
      <span class="row-main">
        <span class="row-title">
          <strong>{animal.name ?? "Unnamed"}</strong>
          {latin !== "" && <em>{latin}</em>}
        </span>
        <span class="row-detail">{detail.filter(Boolean).join(" · ")}</span>
      </span>
      <ObserverBadge siteId={animal.observer} name={animal.observer_name} />
    </button>
  );
}
