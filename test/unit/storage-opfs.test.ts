/** Of OPFS only what no Chromium shows: a browser that has it in part. */
import { afterEach, expect, test, vi } from "vitest";
import { openOpfsStorage } from "../../src/db/storage-opfs.ts";

afterEach(() => vi.unstubAllGlobals());

/** As in a browser whose files are `file`. */
function stubOpfs(file: object): void {
  const directory = {
    getDirectoryHandle: () => Promise.resolve(directory),
    getFileHandle: () => Promise.resolve(file),
  };
  vi.stubGlobal("navigator", { storage: { getDirectory: () => Promise.resolve(directory) } });
}

const refuse = (name: string) => () => Promise.reject(new DOMException("no", name));

test("without access handles OPFS is unavailable, so that IndexedDB takes its place", async () => {
  stubOpfs({});
  await expect(openOpfsStorage("x")).rejects.toMatchObject({ code: "ERR_STORAGE_UNAVAILABLE" });
  stubOpfs({ createSyncAccessHandle: refuse("NotSupportedError") });
  await expect(openOpfsStorage("x")).rejects.toMatchObject({ code: "ERR_STORAGE_UNAVAILABLE" });
  // What may hold data already is not given up for another place.
  stubOpfs({ createSyncAccessHandle: refuse("UnknownError") });
  await expect(openOpfsStorage("x")).rejects.toMatchObject({ code: "ERR_STORAGE_LOST" });
});
