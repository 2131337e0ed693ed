/**
 * How much a directory holds and how much it could, as a browser would estimate it for a site.
 *
 * @module
 */

import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";

/** Usage: its files, folders left out. Quota: that, and what is free on its disk for this user. */
export async function directoryRoom(
  directory: string,
): Promise<{ readonly usage: number; readonly quota: number }> {
  const names = await readdir(directory);
  // A file may go while it is looked for.
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(directory, name)).then(
        (file) => (file.isFile() ? file.size : 0),
        () => 0,
      ),
    ),
  );
  const usage = sizes.reduce((sum, size) => sum + size, 0);
  const { bavail, bsize } = await statfs(directory);
  return { usage, quota: usage + bavail * bsize };
}
