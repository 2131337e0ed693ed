/** What a page hears of its own sleep and of being looked at, with the page's two event targets. */
import { afterEach, expect, test, vi } from "vitest";
import { browserTransportPlan } from "../../src/node/transports-browser.ts";

afterEach(() => vi.unstubAllGlobals());

test("a page that is shown again, wakes or changes networks is told of it, until it is undone", () => {
  const page = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  const window = new EventTarget();
  vi.stubGlobal("document", page);
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  vi.stubGlobal("removeEventListener", window.removeEventListener.bind(window));
  const told: string[] = [];
  const plan = browserTransportPlan();
  const undo = [
    plan.onNetworkChange(() => void told.push("network")),
    plan.onVisible(() => void told.push("visible")),
  ];
  const happen = (): void => {
    for (const type of ["online", "pageshow"]) window.dispatchEvent(new Event(type));
    for (const type of ["resume", "visibilitychange"]) page.dispatchEvent(new Event(type));
  };
  happen();
  expect(told.splice(0)).toEqual(["network", "network", "network"]);
  page.visibilityState = "visible";
  happen();
  expect(told.splice(0)).toEqual(["network", "network", "network", "visible"]);
  for (const each of undo) each();
  happen();
  expect(told).toEqual([]);
});
