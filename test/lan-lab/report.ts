/** Runs scenarios and holds what they measured against their bounds. */
import { type Lab, type LabOptions, openLab } from "./lab.ts";
import { PROBE_ADDRESS } from "./lan.ts";
import type { Measures, Scenario } from "./scenarios.ts";

export interface ScenarioResult {
  readonly name: string;
  readonly passed: boolean;
  /** How long all of it took. */
  readonly seconds: number;
  /** Why it did not pass. */
  readonly failed?: string;
  readonly [measure: string]: unknown;
}

/** On a LAN of its own. Never rejects. */
export async function runAlone(scenario: Scenario, options: LabOptions): Promise<ScenarioResult> {
  const startMs = performance.now();
  let lab: Lab | null = null;
  let outcome: Outcome;
  try {
    lab = await openLab(options, scenario.browsers);
    outcome = judge(scenario, await scenario.run(lab), lab);
  } catch (error) {
    const failed = error instanceof Error ? error.message : String(error);
    outcome = { passed: false, failed };
  }
  await lab?.close();
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  return { name: scenario.name, seconds, bounds: scenario.bounds, ...outcome };
}

type Outcome = Pick<ScenarioResult, "passed" | "failed">;

function judge({ bounds }: Scenario, measures: Measures, lab: Lab): Outcome {
  const exceeded = Object.entries(bounds)
    .filter(([name, bound]) => !(Number(measures[name]) <= bound))
    .map(([name, bound]) => `${name} is ${measures[name]}, bound ${bound}`);
  const problems = lab.browsers.flatMap((browser) => browser.problems);
  const strangers = lab.lan.outside().destinations.filter((address) => address !== PROBE_ADDRESS);
  const outside = strangers.map((address) => `${address}, which is none of the LAN, was contacted`);
  const failures = [...exceeded, ...problems, ...outside];
  if (failures.length === 0) return { passed: true, ...measures };
  return { passed: false, failed: failures.join("; "), ...measures };
}
