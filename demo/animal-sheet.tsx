/**
 * Adding, editing and deleting an animal.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { AnimalDetails, animalFieldsOf, TextField, textOf } from "./animal-fields.tsx";
import { Icon } from "./icons.tsx";
import type { ListedAnimal } from "./list-queries.ts";
import { addAnimal, deleteAnimal, restoreAnimal, updateAnimal } from "./notebook.ts";
import { ANIMAL_COLUMNS, type Animal } from "./schema.ts";
import { Problem, Sheet } from "./sheet.tsx";
import { attempt, say } from "./toasts.tsx";
import { count } from "./words.ts";

export function AnimalSheet(props: {
  mesh: Mesh;
  /** Null: a new one. */
  animal: ListedAnimal | null;
  onClose: () => void;
}): JSX.Element {
  const { mesh, animal, onClose } = props;
  const [problem, setProblem] = useState<{ error: unknown } | null>(null);
  const [saving, setSaving] = useState(false);
  const onSubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setSaving(true);
    save(mesh, animal, form).then(onClose, (error: unknown) => {
      setSaving(false);
      setProblem({ error });
    });
  };
  return (
    <Sheet
      title={animal === null ? "New animal" : "Animal"}
      testId="animal-sheet"
      onClose={onClose}
    >
      <form class="form" onSubmit={onSubmit}>
        <TextField name="name" label="Name" value={animal?.name} required autofocus />
        <AnimalDetails animal={animal} />
        {problem && <Problem doing="save the animal" error={problem.error} onAgain="submit" />}
        <footer class="form-actions">
          {animal && <DeleteAnimal mesh={mesh} animal={animal} onClose={onClose} />}
          <button type="submit" class="button button-main" data-testid="save" disabled={saving}>
            <Icon name="check" /> Save
          </button>
        </footer>
      </form>
    </Sheet>
  );
}

async function save(mesh: Mesh, before: ListedAnimal | null, form: FormData): Promise<void> {
  const fields = animalFieldsOf(form, textOf(form, "name"));
  if (before === null) {
    await addAnimal(mesh, fields);
    return;
  }
  const outcome = await updateAnimal(mesh, before, fields);
  if (outcome !== "gone") return;
  say("Another device deleted this animal while you edited it.", {
    label: "Save as new",
    run: () => attempt("save the animal", () => addAnimal(mesh, fields)),
  });
}

/** Asks first when sightings would lose their animal; can be undone in any case. */
function DeleteAnimal(props: {
  mesh: Mesh;
  animal: ListedAnimal;
  onClose: () => void;
}): JSX.Element {
  const { mesh, animal, onClose } = props;
  const [asking, setAsking] = useState(false);
  const remove = async (): Promise<void> => {
    await deleteAnimal(mesh, animal.id);
    onClose();
    say(`Deleted ${animal.name ?? "an animal"}.`, {
      label: "Undo",
      run: () => attempt("bring the animal back", () => restoreAnimal(mesh, plain(animal))),
    });
  };
  return (
    <>
      {asking && (
        <p class="problem" role="alert">
          {count(animal.sightings, "sighting")} will stay, as of a removed animal. Press again to
          delete.
        </p>
      )}
      <button
        type="button"
        class="button button-danger"
        data-testid="delete"
        onClick={() => {
          if (animal.sightings > 0 && !asking) setAsking(true);
          else attempt("delete the animal", remove);
        }}
      >
        <Icon name="trash" /> {asking ? "Really delete" : "Delete"}
      </button>
    </>
  );
}

/** The animal without what the list query joined to it. */
function plain(animal: ListedAnimal): Animal {
  const entries = ANIMAL_COLUMNS.map((column) => [column, animal[column]]);
  return Object.fromEntries(entries) as Animal;
}
