/**
 * Where a join link comes from when somebody names it: it is one, or it is the address of a hub's
 * page, which gives one.
 *
 * @module
 */

import { inviteLink, parseInviteLink } from "../protocol/genesis.ts";
import { INVITE_CHARS_MAX } from "../protocol/limits.ts";
import { CommandError, UsageError } from "./command.ts";
import { isLanHost } from "./lan-host.ts";

const FETCH_TIMEOUT_MS = 10_000;
/** A link, a mesh's name, and the JSON around them. */
const ANSWER_BYTES_MAX: number = 2 * INVITE_CHARS_MAX;

/** @throws UsageError on a page that is not on the LAN, CommandError, MeshError ERR_INVITE_INVALID */
export async function joinLinkOf(text: string): Promise<string> {
  if (!/^https?:\/\//.test(text) || /#.*join=/.test(text)) {
    parseInviteLink(text);
    return text;
  }
  return (await askPage(pageUrl(text))).link;
}

/** @throws UsageError */
export function pageUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError(`${text} is no URL`);
  }
  if (!isLanHost(url.hostname)) {
    throw new UsageError(`${url.hostname} is no address or name of the LAN`);
  }
  return url;
}

export interface HubPage {
  readonly link: string;
  /** What the hub's clock says, milliseconds since 1970; null when it does not say. */
  readonly dateMs: number | null;
}

/** What `/rowmesh.json` of a hub's page says. @throws CommandError, MeshError ERR_INVITE_INVALID */
export async function askPage(page: URL): Promise<HubPage> {
  const url = new URL("/rowmesh.json", page);
  let text: string;
  let dateMs: number;
  try {
    const response = await fetch(url, {
      redirect: "error",
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    });
    if (!response.ok) throw new RangeError(`status ${response.status}`);
    dateMs = Date.parse(response.headers.get("date") ?? "");
    text = await boundedText(response);
  } catch (error) {
    throw new CommandError(
      `no hub answers at ${url.href} (${reasonOf(error)}). Look whether it runs, or pass its join link.`,
    );
  }
  const link = joinUrlOf(text);
  if (link === null) {
    throw new CommandError(`${url.href} is no hub's page. Pass the hub's join link.`);
  }
  // Its fragment alone: the rest of the URL is the page's affair.
  return {
    link: inviteLink(parseInviteLink(link), page.origin),
    dateMs: Number.isNaN(dateMs) ? null : dateMs,
  };
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) throw new RangeError("its answer is too long");
  }
  return text;
}

function joinUrlOf(text: string): string | null {
  try {
    const { joinUrl } = JSON.parse(text) as { readonly joinUrl?: unknown };
    return typeof joinUrl === "string" ? joinUrl : null;
  } catch {
    return null;
  }
}

/** Of what `fetch` throws: the cause says more than "fetch failed". */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error) return "code" in cause ? String(cause.code) : cause.message;
  return error.name === "TimeoutError" ? "no answer" : error.message;
}
