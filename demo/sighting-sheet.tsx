/**
 * Writing a new sighting, and editing or deleting one.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { AnimalDetails, animalFieldsOf, TextField, textOf } from "./animal-fields.tsx";
import { AnimalPicker, type PickedAnimal } from "./animal-picker.tsx";
import { Icon } from "./icons.tsx";
import type { ListedSighting } from "./list-queries.ts";
import {
  addSighting,
  deleteSighting,
  restoreSighting,
  updateSighting,
  type AnimalChoice,
  type SightingFields,
} from "./notebook.ts";
import { SIGHTING_COLUMNS, type Sighting } from "./schema.ts";
import { Problem, Sheet } from "./sheet.tsx";
import { attempt, say } from "./toasts.tsx";
import { nameOr } from "./words.ts";

const HEADS_MAX = 1_000_000;

interface SheetProps {
  readonly mesh: Mesh;
  /** Null: a new one. */
  readonly sighting: ListedSighting | null;
  readonly onClose: () => void;
}

export function SightingSheet(props: SheetProps): JSX.Element {
  const { mesh, sighting, onClose } = props;
  const [animal, setAnimal] = useState<PickedAnimal>({
    text: sighting?.animal_name ?? "",
    id: sighting?.animal_name == null ? null : sighting.animal_id,
  });
  const [problem, setProblem] = useState<{ error: unknown } | null>(null);
  const [saving, setSaving] = useState(false);
  const onSubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setSaving(true);
    save(mesh, sighting, animal, form).then(onClose, (error: unknown) => {
      setSaving(false);
      setProblem({ error });
    });
  };
  const title = sighting === null ? "New sighting" : "Sighting";
  return (
    <Sheet title={title} testId="sighting-sheet" onClose={onClose}>
      <form class="form" onSubmit={onSubmit}>
        <AnimalPicker
          mesh={mesh}
          value={animal}
          // A phone's keyboard should not cover a sighting that one only wants to read.
          autofocus={sighting === null}
          onChange={setAnimal}
        />
        {animal.id === null && animal.text.trim() !== "" && (
          <details class="new-animal">
            <summary>New to the notebook: add what you know</summary>
            <AnimalDetails animal={null} />
          </details>
        )}
        <HeadCount value={sighting?.head_count ?? 1} />
        <TextField name="place" label="Place" value={sighting?.place} />
        <label class="field">
          <span>Seen at</span>
          <input
            type="datetime-local"
            name="seen_at"
            data-testid="field-seen-at"
            required
            defaultValue={toLocalInput(sighting?.seen_at_ms ?? Date.now())}
          />
        </label>
        <label class="field">
          <span>Note</span>
          <textarea name="note" data-testid="field-note" rows={3} maxLength={5_000}>
            {sighting?.note ?? ""}
          </textarea>
        </label>
        {problem && <Problem doing="save the sighting" error={problem.error} onAgain="submit" />}
        {sighting && <Byline sighting={sighting} />}
        <footer class="form-actions">
          {sighting && <DeleteButton mesh={mesh} sighting={sighting} onClose={onClose} />}
          <button type="submit" class="button button-main" data-testid="save" disabled={saving}>
            <Icon name="check" /> Save
          </button>
        </footer>
      </form>
    </Sheet>
  );
}

async function save(
  mesh: Mesh,
  before: ListedSighting | null,
  animal: PickedAnimal,
  form: FormData,
): Promise<void> {
  const fields: SightingFields = {
    head_count: Number(form.get("head_count")),
    place: textOf(form, "place"),
    seen_at_ms: seenAtMs(form, before),
    note: textOf(form, "note"),
  };
  const choice = await choiceOf(mesh, before, animal, form);
  if (before === null) {
    await addSighting(mesh, choice, fields);
    return;
  }
  const outcome = await updateSighting(mesh, before, choice, fields);
  if (outcome !== "gone") return;
  say("Another device deleted this sighting while you edited it.", {
    label: "Save as new",
    run: () => attempt("save the sighting", () => addSighting(mesh, choice, fields)),
  });
}

/** The picked animal, or one that has exactly this name, or a new one. */
async function choiceOf(
  mesh: Mesh,
  before: ListedSighting | null,
  animal: PickedAnimal,
  form: FormData,
): Promise<AnimalChoice> {
  if (animal.id !== null) return { type: "known", id: animal.id };
  const name = animal.text.trim();
  if (before?.animal_id && before.animal_name === name) {
    return { type: "known", id: before.animal_id };
  }
  const [same] = await mesh.db.query<{ id: string }>(
    "SELECT id FROM animal WHERE lower(name) = lower(?) ORDER BY id LIMIT 1",
    [name],
  );
  if (same !== undefined) return { type: "known", id: same.id };
  return { type: "new", fields: animalFieldsOf(form, name) };
}

function HeadCount(props: { value: number }): JSX.Element {
  const [heads, setHeads] = useState(props.value);
  const set = (next: number): void => setHeads(Math.min(HEADS_MAX, Math.max(1, next || 1)));
  return (
    <div class="field">
      <label for="head-count">How many</label>
      <div class="stepper">
        <button type="button" aria-label="One fewer" onClick={() => set(heads - 1)}>
          <Icon name="minus" />
        </button>
        <input
          id="head-count"
          type="number"
          name="head_count"
          data-testid="field-head-count"
          inputMode="numeric"
          min={1}
          max={HEADS_MAX}
          step={1}
          required
          value={heads}
          onChange={(event) => set(Math.round(event.currentTarget.valueAsNumber))}
        />
        <button type="button" aria-label="One more" onClick={() => set(heads + 1)}>
          <Icon name="plus" />
        </button>
      </div>
    </div>
  );
}

function Byline(props: { sighting: ListedSighting }): JSX.Element {
  const { observer, observer_name, edited_by, editor_name } = props.sighting;
  return (
    <p class="quiet byline" data-testid="byline">
      Written by {nameOr(observer_name, observer)}
      {edited_by !== null && `, edited by ${nameOr(editor_name, edited_by)}`}
    </p>
  );
}

function DeleteButton(props: {
  mesh: Mesh;
  sighting: ListedSighting;
  onClose: () => void;
}): JSX.Element {
  const { mesh, sighting, onClose } = props;
  const remove = async (): Promise<void> => {
    await deleteSighting(mesh, sighting.id);
    onClose();
    say(`Deleted ${sighting.animal_name ?? "a sighting"}.`, {
      label: "Undo",
      run: () => attempt("bring the sighting back", () => restoreSighting(mesh, plain(sighting))),
    });
  };
  return (
    <button
      type="button"
      class="button button-danger"
      data-testid="delete"
      onClick={() => attempt("delete the sighting", remove)}
    >
      <Icon name="trash" /> Delete
    </button>
  );
}

/** The sighting without what the list query joined to it. */
function plain(sighting: ListedSighting): Sighting {
  const entries = SIGHTING_COLUMNS.map((column) => [column, sighting[column]]);
  return Object.fromEntries(entries) as Sighting;
}

/** The field shows minutes; an untouched time keeps its seconds. */
function seenAtMs(form: FormData, before: Sighting | null): number {
  const typed = textOf(form, "seen_at") ?? "";
  if (before !== null && typed === toLocalInput(before.seen_at_ms)) return before.seen_at_ms;
  return new Date(typed).getTime();
}

function toLocalInput(timeMs: number): string {
  const offsetMs = new Date(timeMs).getTimezoneOffset() * 60_000;
  return new Date(timeMs - offsetMs).toISOString().slice(0, 16);
}
