/**
 * The fields of an animal, in its own sheet and within a new sighting.
 *
 * @module
 */

import type { JSX } from "preact";
import { useId } from "preact/hooks";
import type { AnimalFields } from "./notebook.ts";
import { DIETS, HABITATS, type Animal } from "./schema.ts";

/** Everything but the name. */
export function AnimalDetails(props: { animal: Animal | null }): JSX.Element {
  const { animal } = props;
  return (
    <div class="field-pair">
      <TextField name="genus" label="Genus" value={animal?.genus} />
      <TextField name="species" label="Species" value={animal?.species} />
      <TextField name="habitat" label="Habitat" value={animal?.habitat} options={HABITATS} />
      <TextField name="diet" label="Diet" value={animal?.diet} options={DIETS} />
    </div>
  );
}

export function TextField(props: {
  name: string;
  label: string;
  value?: string | null | undefined;
  options?: readonly string[];
  required?: boolean;
  autofocus?: boolean;
}): JSX.Element {
  const id = useId();
  return (
    <label class="field">
      <span>{props.label}</span>
      <input
        type="text"
        name={props.name}
        data-testid={`field-${props.name}`}
        defaultValue={props.value ?? ""}
        required={props.required ?? false}
        autofocus={props.autofocus ?? false}
        autocomplete="off"
        autocapitalize="sentences"
        maxLength={500}
        list={props.options && id}
      />
      {props.options && (
        <datalist id={id}>
          {props.options.map((option) => (
            <option key={option} value={option} />
          ))}
        </datalist>
      )}
    </label>
  );
}

/** Blank fields are null: "not known" is not a name. */
export function textOf(form: FormData, name: string): string | null {
  const value = form.get(name);
  const text = typeof value === "string" ? value.trim() : "";
  return text === "" ? null : text;
}

export function animalFieldsOf(form: FormData, name: string | null): AnimalFields {
  return {
    name,
    genus: textOf(form, "genus"),
    species: textOf(form, "species"),
    habitat: textOf(form, "habitat"),
    diet: textOf(form, "diet"),
  };
}
