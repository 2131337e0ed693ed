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

/** Waiting longer would keep a person from a notebook that needs no network. */
const HUB_TIMEOUT_MS = 2_000;

/** What the hub that serves this page says of itself. */
export interface HubDescription {
  readonly joinUrl: string | null;
  /** Where the same app comes over https, and the page that tells how a device comes to trust it. */
  readonly https: { readonly origin: string; readonly trustUrl: string } | null;
}

/** Null when the page comes from elsewhere, or the hub is out of reach. */
export async function describeHub(): Promise<HubDescription | null> {
  try {
    const response = await fetch("rowmesh.json", {
      cache: "no-store",
      signal: AbortSignal.timeout(HUB_TIMEOUT_MS),
    });
    if (!response.ok) return null;
    const { joinUrl, https } = (await response.json()) as {
      readonly joinUrl?: unknown;
      readonly https?: { readonly origin?: unknown; readonly trustUrl?: unknown };
    };
    const { origin, trustUrl } = https ?? {};
    return {
      joinUrl: typeof joinUrl === "string" ? joinUrl : null,
      https: isWebUrl(origin) && isWebUrl(trustUrl) ? { origin, trustUrl } : null,
    };
  } catch {
    // No network, or a web server that answers every path with a page: no hub.
    return null;
  }
}

function isWebUrl(text: unknown): text is string {
  return typeof text === "string" && /^https?:$/.test(URL.parse(text)?.protocol ?? "");
}

/** Where an invite made here should lead: this page, without query or fragment. */
export function inviteBaseUrl(): string {
  return location.origin + location.pathname;
}

/** True when other devices cannot reach this page by its address. */
export function isLoopback(): boolean {
  return /^(localhost|127\.|\[::1\])/.test(location.hostname);
}
