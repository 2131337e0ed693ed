/**
 * Lets a {@link MeshError} cross a comlink boundary with its code: comlink alone keeps a thrown
 * error's name and message only.
 *
 * @module
 */

import { transferHandlers } from "comlink";
import { ERROR_REMEDIES, isMeshError, MeshError, type MeshErrorCode } from "../protocol/errors.ts";

interface ThrownValue {
  readonly value: unknown;
}

interface SerializedThrow {
  readonly isError: boolean;
  readonly value: unknown;
  readonly code?: string;
  readonly detail?: string;
}

/** To be called once on either side, before anything is exposed or wrapped. Idempotent. */
export function carryMeshErrors(): void {
  const plain = transferHandlers.get("throw");
  if (plain === undefined || installed.has(plain)) return;
  const handler: typeof plain = {
    canHandle: (value): value is unknown => plain.canHandle(value),
    serialize: (thrown) => {
      const { value } = thrown as ThrownValue;
      const [serialized, transfer] = plain.serialize(thrown);
      if (!isMeshError(value)) return [serialized, transfer];
      const detail = value.message.slice(value.code.length + 2);
      return [{ ...(serialized as SerializedThrow), code: value.code, detail }, transfer];
    },
    deserialize: (serialized) => {
      const { code, detail } = serialized as SerializedThrow;
      if (code === undefined || !isCode(code)) return plain.deserialize(serialized);
      throw new MeshError(code, detail ?? "");
    },
  };
  installed.add(handler);
  transferHandlers.set("throw", handler);
}

const installed = new WeakSet<object>();

const isCode = (code: string): code is MeshErrorCode => Object.hasOwn(ERROR_REMEDIES, code);
