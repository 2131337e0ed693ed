/**
 * Choosing an animal by typing: known animals are suggested, any other name makes a new one. The
 * pattern is the WAI-ARIA combobox with a list.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { likeBeginning, likePattern, SUGGEST_ANIMALS } from "./list-queries.ts";
import { useLiveRows } from "./live-rows.ts";
import type { Animal } from "./schema.ts";

const SUGGESTIONS_MAX = 6;

export interface PickedAnimal {
  readonly text: string;
  /** Set when `text` stands for an animal of the notebook. */
  readonly id: string | null;
}

export function AnimalPicker(props: {
  mesh: Mesh;
  value: PickedAnimal;
  autofocus: boolean;
  onChange: (value: PickedAnimal) => void;
}): JSX.Element {
  const { value } = props;
  const listId = useId();
  const [focused, setFocused] = useState(false);
  const [active, setActive] = useState(-1);
  const found = useLiveRows<Animal>(props.mesh, SUGGEST_ANIMALS, [
    likePattern(value.text),
    likeBeginning(value.text),
    SUGGESTIONS_MAX,
  ]);
  const suggestions = focused && value.id === null ? (found?.rows ?? []) : [];
  const choose = (animal: Animal): void => {
    props.onChange({ text: animal.name ?? "", id: animal.id });
    setActive(-1);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const chosen = suggestions[active];
    if (step !== 0 && suggestions.length > 0) {
      setActive((active + step + suggestions.length) % suggestions.length);
    } else if (event.key === "Enter" && chosen !== undefined) {
      choose(chosen);
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <div class="field picker">
      <label for={`${listId}-input`}>Animal</label>
      <input
        id={`${listId}-input`}
        type="text"
        role="combobox"
        data-testid="field-animal"
        aria-expanded={suggestions.length > 0}
        aria-controls={listId}
        aria-autocomplete="list"
        aria-activedescendant={active >= 0 ? `${listId}-${active}` : undefined}
        placeholder="What did you see?"
        autocomplete="off"
        autocapitalize="sentences"
        maxLength={500}
        required
        autofocus={props.autofocus}
        value={value.text}
        onInput={(event) => {
          setActive(-1);
          props.onChange({ text: event.currentTarget.value, id: null });
        }}
        onFocus={() => setFocused(true)}
        onBlur={() => setFocused(false)}
        onKeyDown={onKeyDown}
      />
      <ul id={listId} role="listbox" aria-label="Known animals" hidden={suggestions.length === 0}>
        {suggestions.map((animal, index) => (
          <li
            key={animal.id}
            id={`${listId}-${index}`}
            role="option"
            aria-selected={index === active}
            // Before the blur that would close the list.
            onPointerDown={(event) => {
              event.preventDefault();
              choose(animal);
            }}
          >
            <strong>{animal.name}</strong>
            <em>{[animal.genus, animal.species].filter(Boolean).join(" ")}</em>
          </li>
        ))}
      </ul>
    </div>
  );
}
