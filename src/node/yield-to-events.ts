/**
 * Lets events in between two stretches of synchronous work. A resolved promise alone does not:
 * microtasks run before the next message, timer or frame.
 *
 * @module
 */

/** Resolves in a later task, soon: not `setTimeout`, which browsers stretch to 4 ms when repeated. */
export const yieldToEvents: () => Promise<void> =
  typeof setImmediate === "function"
    ? () => new Promise((resolve) => void setImmediate(resolve))
    : yieldByMessage();

function yieldByMessage(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  const { port1, port2 } = new MessageChannel();
  port1.addEventListener("message", () => waiting.shift()?.());
  port1.start();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(null);
    });
}
