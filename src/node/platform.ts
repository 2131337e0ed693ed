/**
 * What the page's origin and browser offer, and what is lacking, in plain words. Read once, in the
 * window: workers lack other things.
 *
 * @module
 */

import type { PlatformFeature, PlatformStatus } from "./api.ts";

export interface Platform extends PlatformStatus {
  /** Who is asked to keep what is stored; null where nobody can be: Node, plain http. */
  readonly keeper: Pick<StorageManager, "persist" | "persisted"> | null;
  /** How much is stored, and how much could be; null where nobody says. */
  readonly room: (() => Promise<StorageEstimate>) | null;
  /** Safari, and everything on iOS: it deletes what it stores by rules of its own. */
  readonly isWebKit: boolean;
  /** Started from the home screen or as an app. */
  readonly isInstalled: boolean;
}

export const NODE_PLATFORM: Platform = {
  secureContext: null,
  lacks: [],
  keeper: null,
  room: null,
  isWebKit: false,
  isInstalled: false,
};

/** As much of a window as is looked at; what an old browser or plain http does not have is absent. */
export interface WindowScope {
  readonly isSecureContext: boolean;
  readonly location: { readonly protocol: string };
  readonly crypto?: { readonly subtle?: unknown };
  readonly RTCPeerConnection?: unknown;
  readonly matchMedia?: (query: string) => { readonly matches: boolean };
  readonly navigator: {
    readonly vendor?: string;
    readonly standalone?: boolean;
    readonly storage?: Pick<StorageManager, "persist" | "persisted" | "estimate"> & {
      readonly getDirectory?: unknown;
    };
    readonly serviceWorker?: unknown;
    readonly locks?: unknown;
    readonly mediaDevices?: { readonly getUserMedia?: unknown };
  };
}

/** `opfs` "refused": it is there and could not be opened, as in private windows of some browsers. */
export function browserPlatform(
  scope: WindowScope,
  opfs: "refused" | "untried" | "open" = "untried",
): Platform {
  const { navigator, isSecureContext } = scope;
  const { storage } = navigator;
  const has: Readonly<Record<PlatformFeature, boolean>> = {
    webrtc: scope.RTCPeerConnection !== undefined,
    opfs: storage?.getDirectory !== undefined && opfs !== "refused",
    "service-worker": navigator.serviceWorker !== undefined,
    "web-locks": navigator.locks !== undefined,
    webcrypto: scope.crypto?.subtle !== undefined,
    camera: navigator.mediaDevices?.getUserMedia !== undefined,
  };
  const lacks = (Object.keys(has) as PlatformFeature[]).filter((feature) => !has[feature]);
  return {
    secureContext: isSecureContext,
    lacks: lacks.map((feature) => ({
      feature,
      effect:
        feature === "webrtc" && scope.location.protocol === "https:"
          ? WITHOUT_WEBRTC_OVER_HTTPS
          : EFFECTS[feature],
      remedy: isSecureContext || feature === "webrtc" ? UPDATE[feature] : HTTPS,
    })),
    keeper: storage?.persisted === undefined ? null : storage,
    room: storage?.estimate === undefined ? null : () => storage.estimate(),
    isWebKit: navigator.vendor?.startsWith("Apple") === true,
    isInstalled:
      navigator.standalone === true ||
      scope.matchMedia?.("(display-mode: standalone)").matches === true,
  };
}

const EFFECTS: Readonly<Record<PlatformFeature, string>> = {
  webrtc: "This device cannot be linked to other browsers, only to a hub.",
  opfs: "The database is kept in IndexedDB: all of it is in memory while it is open.",
  "service-worker": "The app does not open without a network.",
  "web-locks":
    "One tab at a time: others are refused, and a tab that is busy may lose the database to a newer one.",
  webcrypto: "Signatures are made and checked 3 to 5 times slower.",
  camera: "Codes cannot be scanned; they can be typed or pasted.",
};

/** `ws://` is mixed content there. */
const WITHOUT_WEBRTC_OVER_HTTPS =
  "This device cannot be linked to other browsers, only to a hub that runs with --https.";

const HTTPS =
  "Open this app over HTTPS (`rowmesh hub --https` serves it so), or on this machine as localhost.";
const NEWER = "Use a newer browser.";

/** On a page that has all that HTTPS gives. */
const UPDATE: Readonly<Record<PlatformFeature, string>> = {
  webrtc: "Use a browser with WebRTC, and leave it switched on in its settings.",
  opfs: "Use a newer browser, and no private window.",
  "service-worker": "Use a newer browser, and no private window.",
  "web-locks": NEWER,
  webcrypto: NEWER,
  camera: "Use a device with a camera.",
};
