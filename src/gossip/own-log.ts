/**
 * Own log: when to offer what we wrote. A disk may have been rewound by a crash or a restored
 * backup; then a peer holds more of our own log than we do, and a new changeset under an old
 * version would be a fork. So on the first link we look before we release: our own missing
 * versions are fetched first. A peer that claims some and does not deliver is not waited for.
 *
 * @module
 */

import type { SiteId } from "../protocol/ids.ts";
import type { AuthorStream } from "../protocol/version-vector.ts";
import type { Emit } from "./effect.ts";
import type { Link } from "./link.ts";

export interface OwnLog {
  readonly isOwn: (key: AuthorStream) => boolean;
  readonly isOffered: () => boolean;
  readonly pump: (links: Iterable<Link>) => void;
}

export function createOwnLog(site: SiteId, emit: Emit): OwnLog {
  const isOwn = (key: AuthorStream): boolean => key.startsWith(site);
  let isOffered = false;

  // Once each, whatever becomes of it: two who take turns in failing would keep us silent for ever.
  const holdsMore = (link: Link) =>
    [...link.view.lacking()].some((key) => isOwn(key) && !link.failed(key));

  return {
    isOwn,
    isOffered: () => isOffered,
    pump: (links) => {
      const open = [...links].filter(({ state }) => state().type === "open");
      const known = open.filter(({ view }) => view.known());
      if (isOffered && open.length === 0) {
        isOffered = false;
        emit({ type: "offer", mode: "off" });
      }
      if (!isOffered && known.length > 0 && !known.some(holdsMore)) {
        isOffered = true;
        emit({ type: "offer", mode: "on" });
      }
    },
  };
}
