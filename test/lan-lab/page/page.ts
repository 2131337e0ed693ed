/**
 * The lab's app: joins the mesh of the hub that serves it, and writes and counts notes. Driven by
 * name from `hosts.ts`.
 */
// First: the package takes hold of RTCPeerConnection as it loads.
import { webrtc } from "./watch-webrtc.ts";
import { type Mesh, openMesh, type Pairing } from "rowmesh";

const SCHEMA = {
  version: 1,
  tables: ["CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, text TEXT) STRICT"],
};

const params = new URLSearchParams(location.search);

/** Of the hub that serves the page, or by the link that somebody opened. */
async function joinLink(): Promise<string> {
  if (location.hash.startsWith("#join=")) return location.href;
  const response = await fetch("rowmesh.json");
  const { joinUrl } = (await response.json()) as { readonly joinUrl: string };
  return joinUrl;
}

async function open(): Promise<Mesh> {
  // Pages over plain http have none.
  await (navigator.serviceWorker as ServiceWorkerContainer | undefined)?.register("sw.js");
  const deviceName = params.get("name") ?? "";
  const options = { name: "lan-lab", schema: SCHEMA, deviceName };
  return openMesh(params.has("alone") ? options : { ...options, join: await joinLink() });
}

const mesh = await open();
let pairing: Pairing;
let written = 0;
let ticks = 0;
setInterval(() => (ticks += 1), 100);

/** What this page's origin is given by the browser. */
const originOfPage = {
  has: (): Readonly<Record<string, boolean>> => {
    const { mediaDevices, storage, locks, serviceWorker } = navigator as Partial<Navigator>;
    return {
      secureContext: isSecureContext,
      opfs: storage?.getDirectory !== undefined,
      serviceWorker: serviceWorker?.controller != null,
      webLocks: locks !== undefined,
      webCrypto: (crypto.subtle as SubtleCrypto | undefined) !== undefined,
      camera: mediaDevices?.getUserMedia !== undefined,
      persist: storage?.persist !== undefined,
    };
  },
  persist: (): Promise<boolean> => navigator.storage.persist(),
  /** The addresses under which it offers itself to other browsers. */
  candidateAddresses: async (): Promise<readonly string[]> => {
    const connection = new RTCPeerConnection();
    connection.createDataChannel("any");
    const addresses: string[] = [];
    await new Promise<void>((resolve) => {
      connection.addEventListener("icecandidate", ({ candidate }) => {
        if (candidate === null) resolve();
        else if (candidate.address !== null) addresses.push(candidate.address);
      });
      void connection.setLocalDescription();
    });
    connection.close();
    return addresses;
  },
  opensWebSocket: (url: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = new WebSocket(url);
      socket.addEventListener("open", () => {
        socket.close();
        resolve(true);
      });
      socket.addEventListener("error", () => resolve(false));
    }),
  /** Of a camera: its picture's width in pixels. */
  seesThroughCamera: async (): Promise<number> => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    const [track] = stream.getVideoTracks();
    const width = track?.getSettings().width ?? 0;
    track?.stop();
    return width;
  },
};

const lab = {
  mesh,
  origin: originOfPage,
  /** Stands still while the page is frozen. */
  ticks: (): number => ticks,
  webrtc,
  showCode: async (): Promise<string> => {
    pairing = await mesh.pair();
    return pairing.code;
  },
  /** With the device of that code. @returns its peer id */
  connect: async (code: string): Promise<string> => (await pairing.connect(code)).peerId,
  /** Each its own changeset. */
  write: async (notes: number): Promise<void> => {
    for (let i = 0; i < notes; i++) {
      written += 1;
      const id = `${mesh.siteId}-${Date.now()}-${written}`;
      await mesh.db.exec("INSERT INTO note (id, text) VALUES (?, ?)", [id, "a note"]);
    }
  },
  /** One changeset, of text that does not compress well. */
  writeBulk: async (notes: number, chars: number): Promise<void> => {
    const letters = Array.from(crypto.getRandomValues(new Uint8Array(chars)), (byte) =>
      String.fromCharCode(97 + (byte % 26)),
    ).join("");
    await mesh.db.transaction(async (tx) => {
      for (let i = 0; i < notes; i++) {
        const text = `${letters.slice(i % chars)}${letters.slice(0, i % chars)}`;
        const id = `bulk-${mesh.siteId}-${Date.now()}-${i}`;
        await tx.exec("INSERT INTO note (id, text) VALUES (?, ?)", [id, text]);
      }
    });
  },
  /** Of single notes, and of all. */
  count: async (): Promise<{ readonly single: number; readonly all: number }> => {
    const [row] = await mesh.db.query<{ single: number; total: number }>(
      "SELECT count(*) AS total, sum(id NOT LIKE 'bulk-%') AS single FROM note",
    );
    return { single: row?.single ?? 0, all: row?.total ?? 0 };
  },
};

declare global {
  var lab: LabPage | undefined;
}
type LabPage = typeof lab;
globalThis.lab = lab;
