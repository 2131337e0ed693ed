/**
 * A file in memory as a list of blocks: growing never copies, and whoever mirrors it elsewhere
 * learns which blocks were touched.
 *
 * @module
 */

import type { FileDevice } from "./storage.ts";

export interface BlockFile {
  readonly device: FileDevice;
  /** Null: never written, all zero. The file's own memory: copy it to keep it. */
  readonly block: (index: number) => Uint8Array<ArrayBuffer> | null;
}

export interface BlockFileOptions {
  readonly blockBytes: number;
  readonly size: number;
  /** Taken over; sparse where nothing was written. */
  readonly blocks: (Uint8Array<ArrayBuffer> | undefined)[];
  readonly touched: (block: number) => void;
}

export const createBlockFile = (options: BlockFileOptions): BlockFile => {
  const { blockBytes, blocks, touched } = options;
  let fileSize = options.size;

  const read = (into: Uint8Array, offset: number): number => {
    const length = Math.max(0, Math.min(into.length, fileSize - offset));
    for (let done = 0; done < length;) {
      const at = offset + done;
      const start = at % blockBytes;
      const take = Math.min(length - done, blockBytes - start);
      const block = blocks[(at - start) / blockBytes];
      if (block === undefined) into.fill(0, done, done + take);
      else into.set(block.subarray(start, start + take), done);
      done += take;
    }
    return length;
  };
  const write = (from: Uint8Array, offset: number): void => {
    for (let done = 0; done < from.length;) {
      const at = offset + done;
      const start = at % blockBytes;
      const index = (at - start) / blockBytes;
      const take = Math.min(from.length - done, blockBytes - start);
      const block = (blocks[index] ??= new Uint8Array(blockBytes));
      block.set(take === from.length ? from : from.subarray(done, done + take), start);
      touched(index);
      done += take;
    }
    fileSize = Math.max(fileSize, offset + from.length);
  };
  const truncate = (size: number): void => {
    blocks.length = Math.min(blocks.length, Math.ceil(size / blockBytes));
    // Bytes cut off must read as zero if the file grows again.
    const start = size % blockBytes;
    const index = (size - start) / blockBytes;
    const last = blocks[index];
    if (last !== undefined) {
      last.fill(0, start);
      touched(index);
    }
    fileSize = size;
  };
  return {
    device: { size: () => fileSize, read, write, truncate, flush: () => {}, close: () => {} },
    block: (index) => blocks[index] ?? null,
  };
};
