/**
 * Bringing many sightings along: a file, pasted lines, or a made-up season.
 *
 * @module
 */

import type { Mesh } from "rowmesh";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { CSV_COLUMNS, CSV_EXAMPLE, parseSightings, type ParsedCsv } from "./csv.ts";
import { Icon } from "./icons.tsx";
import { importSightings } from "./import-sightings.ts";
import { sampleSightings } from "./sample.ts";
import { Problem, Sheet } from "./sheet.tsx";
import { attempt, say } from "./toasts.tsx";
import { count, number } from "./words.ts";

const SAMPLE_ROWS = 5_000;
const PROBLEMS_SHOWN_MAX = 5;

type Step =
  | { readonly type: "choosing" }
  /** `failed`: what came of writing it. */
  | { readonly type: "ready"; readonly parsed: ParsedCsv; readonly failed?: { error: unknown } }
  | { readonly type: "writing"; readonly done: number; readonly total: number };

export function ImportSheet(props: { mesh: Mesh; onClose: () => void }): JSX.Element {
  const { mesh, onClose } = props;
  const [step, setStep] = useState<Step>({ type: "choosing" });
  const abort = useRef(new AbortController());
  // Closing the sheet calls the import off: nothing of it is written.
  useEffect(() => () => abort.current.abort(), []);
  const write = (parsed: ParsedCsv): void => {
    const total = parsed.sightings.length;
    setStep({ type: "writing", done: 0, total });
    const onProgress = (done: number): void => setStep({ type: "writing", done, total });
    importSightings(mesh, parsed.sightings, onProgress, abort.current.signal).then(
      () => {
        say(`Imported ${count(total, "sighting")} in one transaction.`);
        onClose();
      },
      (error: unknown) => setStep({ type: "ready", parsed, failed: { error } }),
    );
  };
  return (
    <Sheet title="Import sightings" testId="import-sheet" onClose={onClose}>
      {step.type === "choosing" && (
        <ChooseList onChosen={(parsed) => setStep({ type: "ready", parsed })} />
      )}
      {step.type === "ready" && (
        <Confirm
          parsed={step.parsed}
          failed={step.failed ?? null}
          onBack={() => setStep({ type: "choosing" })}
          onWrite={() => write(step.parsed)}
        />
      )}
      {step.type === "writing" && (
        <div class="form" data-testid="import-progress">
          <p>
            {step.done < step.total
              ? `Writing ${number(step.done)} of ${number(step.total)} …`
              : "Signing and storing …"}
          </p>
          <progress max={step.total} value={step.done} aria-label="Rows written" />
          <p class="quiet">All of them or none: closing this now calls the whole import off.</p>
        </div>
      )}
    </Sheet>
  );
}

function ChooseList(props: { onChosen: (parsed: ParsedCsv) => void }): JSX.Element {
  const [text, setText] = useState("");
  const parse = (csv: string): void => props.onChosen(parseSightings(csv, Date.now()));
  return (
    <div class="form">
      <button
        type="button"
        class="button button-wide"
        data-testid="import-sample"
        onClick={() =>
          props.onChosen({ sightings: sampleSightings(SAMPLE_ROWS, Date.now()), problems: [] })
        }
      >
        <Icon name="paw" /> Sample: {number(SAMPLE_ROWS)} sightings
      </button>
      <label class="field">
        <span>A CSV file</span>
        <input
          type="file"
          accept=".csv,text/csv,text/plain"
          data-testid="import-file"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) attempt("read the file", async () => parse(await file.text()));
          }}
        />
      </label>
      <label class="field">
        <span>Or pasted lines</span>
        <textarea
          rows={6}
          class="mono"
          data-testid="import-text"
          placeholder={CSV_EXAMPLE}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <p class="quiet">Columns, in any order: {CSV_COLUMNS.join(", ")}. Only animal is needed.</p>
      <footer class="form-actions">
        <button
          type="button"
          class="button button-main"
          data-testid="import-parse"
          disabled={text.trim() === ""}
          onClick={() => parse(text)}
        >
          Look at them
        </button>
      </footer>
    </div>
  );
}

function Confirm(props: {
  parsed: ParsedCsv;
  failed: { error: unknown } | null;
  onBack: () => void;
  onWrite: () => void;
}): JSX.Element {
  const { sightings, problems } = props.parsed;
  const { failed, onBack, onWrite } = props;
  const more = problems.length - PROBLEMS_SHOWN_MAX;
  return (
    <div class="form">
      <p>
        <strong>{count(sightings.length, "sighting")}</strong> can be imported
        {problems.length > 0 && `; ${count(problems.length, "row")} will be left out`}.
      </p>
      <ul class="plain-list">
        {sightings.slice(0, 3).map(({ animal, sighting }, index) => (
          <li key={index}>
            {sighting.head_count} × {animal.name}
            {sighting.place && `, ${sighting.place}`}
          </li>
        ))}
        {sightings.length > 3 && <li class="quiet">and {number(sightings.length - 3)} more</li>}
      </ul>
      {problems.length > 0 && (
        <ul class="problem problem-list" data-testid="import-problems">
          {problems.slice(0, PROBLEMS_SHOWN_MAX).map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
          {more > 0 && <li>and {number(more)} more</li>}
        </ul>
      )}
      {failed && <Problem doing="import the list" error={failed.error} onAgain={onWrite} />}
      <footer class="form-actions">
        <button type="button" class="button button-quiet" onClick={onBack}>
          Back
        </button>
        <button
          type="button"
          class="button button-main"
          data-testid="import-write"
          disabled={sightings.length === 0}
          onClick={onWrite}
        >
          Import {number(sightings.length)}
        </button>
      </footer>
    </div>
  );
}
