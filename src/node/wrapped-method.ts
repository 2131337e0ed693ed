/**
 * A method of a browser's prototype, wrapped for as long as a network runs: for what a library gives
 * no way to reach.
 *
 * @module
 */

interface WrappedMethod {
  readonly putBack: () => void;
  users: number;
}

const wrapped = new WeakMap<object, Map<PropertyKey, WrappedMethod>>();

/**
 * Wraps once, however many callers there are; each method is wrapped for one purpose only.
 * @returns the undo; the original is back when every caller has undone. Idempotent.
 */
export function wrapMethod<Owner extends object, Name extends keyof Owner>(
  prototype: Owner,
  name: Name,
  wrap: (original: Owner[Name]) => Owner[Name],
): () => void {
  const methods = wrapped.get(prototype) ?? new Map<PropertyKey, WrappedMethod>();
  wrapped.set(prototype, methods);
  const method = methods.get(name) ?? replace(prototype, name, wrap);
  methods.set(name, method);
  method.users++;
  let isInstalled = true;
  return () => {
    if (!isInstalled) return;
    isInstalled = false;
    method.users--;
    if (method.users > 0) return;

    method.putBack();
    methods.delete(name);
  };
}

function replace<Owner extends object, Name extends keyof Owner>(
  prototype: Owner,
  name: Name,
  wrap: (original: Owner[Name]) => Owner[Name],
): WrappedMethod {
  const original = prototype[name];
  prototype[name] = wrap(original);
  return {
    putBack: () => {
      prototype[name] = original;
    },
    users: 0,
  };
}
