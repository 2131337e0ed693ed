import type { Browser } from "playwright-core";

export interface LaunchedChromium {
  readonly pid: number;
  readonly browser: Browser;
  /** Kills it with all of its children. Idempotent. */
  readonly close: () => Promise<void>;
}

export interface LaunchOptions {
  /** A folder, kept; a fresh one, removed at the end, when left out. */
  readonly profile?: string;
  /** A pattern of names that lead to 127.0.0.1. */
  readonly hosts?: string;
  /** A video file (y4m, mjpeg), read whenever a page opens the camera; it need not be there before. */
  readonly camera?: string;
}

export function launchChromium(path: string, options?: LaunchOptions): Promise<LaunchedChromium>;
