/**
 * A join link carries the invite in its fragment, `#join=…`, which no server ever sees.
 *
 * @module
 */

const PREFIX = "#join=";

/** The whole link if the address bar holds one; it is taken out of the bar and of the history. */
export function takeJoinLink(): string | null {
  if (!location.hash.startsWith(PREFIX)) return null;
  const link = location.href;
  history.replaceState(null, "", location.pathname + location.search);
  return link;
}

/** Where an invite made here should lead: this page, without query or fragment. */
export function inviteBaseUrl(): string {
  return location.origin + location.pathname;
}

/** True when other devices cannot reach this page by its address. */
export function isLoopback(): boolean {
  return /^(localhost|127\.|\[::1\])/.test(location.hostname);
}
