/** The path of a Chromium, Chrome or Edge that runs; installs one when there is none. */
export function findChromium(): string;
