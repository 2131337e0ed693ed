/**
 * WebRTC between two browsers that know of each other only what two codes say.
 *
 * Both make an offer at once and take the other's code for the answer: nobody needs to know who goes
 * first. ICE settles that both believe to lead (RFC 8445 §7.3.1.1); the DTLS roles follow from the
 * keys. No STUN server, so the candidates are those of the LAN.
 *
 * The DTLS certificates are those that the codes name, or there is no connection.
 *
 * @module
 */

import { MeshError } from "../protocol/errors.ts";
import { fromHex, toHex } from "../protocol/ids.ts";
import { PAIRING_MESSAGE_BYTES_MAX, PAIRING_MESSAGES_MAX } from "../protocol/limits.ts";
import { isPairingHost, type PairingCandidate, type PairingRoute } from "./pairing-code.ts";
import { RTC_CONFIGURATION } from "./transports.ts";

/** Browsers on a LAN are done in 0.2 s; one that still looks for addresses has enough by then. */
const GATHERING_MS = 3_000;
/** For a last message to leave. */
const FAREWELL_MS = 1_000;
/** RFC 8841 §6.1; browsers take at least as much. */
const MESSAGE_BYTES_MAX = 256 * 1024;

export interface PairingChannel {
  /** To this end. */
  readonly route: PairingRoute;
  /** Resolves when data can flow. One end is "active". @throws ERR_PAIRING_FAILED */
  readonly connect: (to: PairingRoute, dtls: "active" | "passive") => Promise<void>;
  /** What the two ends agree on before libp2p takes over. */
  readonly messages: PairingMessages;
  /** For libp2p. */
  readonly connection: RTCPeerConnection;
  readonly data: RTCDataChannel;
  /** What was sent before arrives. */
  readonly close: () => void;
}

export interface PairingMessages {
  readonly send: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** The next one, in order. @throws ERR_PAIRING_FAILED when none will come */
  readonly receive: () => Promise<Uint8Array>;
}

export type OpenPairingChannel = () => Promise<PairingChannel>;

/** @throws ERR_PAIRING_FAILED where the browser offers no address */
export async function openPairingChannel(): Promise<PairingChannel> {
  const connection = new RTCPeerConnection(RTC_CONFIGURATION);
  const control = connection.createDataChannel("pairing", { negotiated: true, id: 0 });
  const data = connection.createDataChannel("libp2p", { negotiated: true, id: 1 });
  control.binaryType = "arraybuffer";
  data.binaryType = "arraybuffer";
  const inbox = createInbox();
  control.addEventListener("message", ({ data: message }) => inbox.put(message));
  const ended = new Promise<never>((_, reject) => {
    const end = (why: string): void => {
      const error = new MeshError("ERR_PAIRING_FAILED", why);
      inbox.end(error);
      reject(error);
    };
    control.addEventListener("close", () => end("the other device ended it"));
    data.addEventListener("close", () => end("the other device ended it"));
    connection.addEventListener("connectionstatechange", () => {
      // ICE may have failed because the other side has not read our code yet.
      const isDtls = connection.iceConnectionState !== "failed";
      if (connection.connectionState === "failed" && isDtls) end("not the device of the code");
    });
  });
  ended.catch(() => undefined);
  try {
    const route = await gather(connection);
    return {
      route,
      connect: async (to, dtls) => {
        await connection.setRemoteDescription({ type: "answer", sdp: describe(to, dtls) });
        await Promise.race([Promise.all([opened(control), opened(data)]), ended]);
      },
      messages: {
        send: (bytes) => {
          if (control.readyState !== "open") {
            throw new MeshError("ERR_PAIRING_FAILED", "the connection ended");
          }
          control.send(bytes);
        },
        receive: inbox.take,
      },
      connection,
      data,
      close: () => {
        inbox.end(new MeshError("ERR_PAIRING_FAILED", "closed"));
        if (control.readyState !== "open") return connection.close();
        control.addEventListener("close", () => connection.close());
        control.close();
        setTimeout(() => connection.close(), FAREWELL_MS);
      },
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}

const opened = (channel: RTCDataChannel): Promise<void> =>
  new Promise((resolve) => {
    if (channel.readyState === "open") resolve();
    else channel.addEventListener("open", () => resolve(), { once: true });
  });

interface Inbox {
  readonly put: (message: unknown) => void;
  readonly take: () => Promise<Uint8Array>;
  readonly end: (error: MeshError) => void;
}

/** Ends at the first message that no honest peer sends. */
function createInbox(): Inbox {
  const waiting: Uint8Array[] = [];
  let ended: MeshError | null = null;
  let taker: {
    readonly resolve: (bytes: Uint8Array) => void;
    readonly reject: (error: MeshError) => void;
  } | null = null;

  function end(error: MeshError): void {
    ended ??= error;
    taker?.reject(ended);
    taker = null;
  }

  function put(message: unknown): void {
    const isFit = message instanceof ArrayBuffer && message.byteLength <= PAIRING_MESSAGE_BYTES_MAX;
    if (ended !== null) return;
    if (!isFit || waiting.length === PAIRING_MESSAGES_MAX) {
      waiting.length = 0;
      return end(
        new MeshError("ERR_PAIRING_FAILED", "the other device does not keep to the rules"),
      );
    }
    const bytes = new Uint8Array(message);
    if (taker === null) waiting.push(bytes);
    else taker.resolve(bytes);
    taker = null;
  }

  async function take(): Promise<Uint8Array> {
    const next = waiting.shift();
    if (next !== undefined) return next;
    if (ended !== null) throw ended;
    return new Promise((resolve, reject) => {
      taker = { resolve, reject };
    });
  }

  return { put, take, end };
}

async function gather(connection: RTCPeerConnection): Promise<PairingRoute> {
  const found: { readonly candidate: PairingCandidate; readonly priority: number }[] = [];
  // Not from the description: see lan-candidates.ts.
  connection.addEventListener("icecandidate", ({ candidate }) => {
    const parsed = candidate === null ? null : parseCandidate(candidate.candidate);
    if (parsed !== null) found.push(parsed);
  });
  await connection.setLocalDescription();
  await gathered(connection);
  found.sort((a, b) => b.priority - a.priority);
  const candidates = found.map(({ candidate }) => candidate);
  if (candidates.length === 0) {
    throw new MeshError("ERR_PAIRING_FAILED", "the browser offers no address: is there a network?");
  }
  const sdp = connection.localDescription?.sdp ?? "";
  const line = (pattern: RegExp): string => pattern.exec(sdp)?.[1] ?? "";
  const fingerprint = line(/^a=fingerprint:sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})\r?$/im);
  return {
    dtlsFingerprint: fromHex(fingerprint.replaceAll(":", "").toLowerCase()),
    iceUfrag: line(/^a=ice-ufrag:(\S+)\r?$/m),
    icePwd: line(/^a=ice-pwd:(\S+)\r?$/m),
    candidates,
  };
}

const gathered = (connection: RTCPeerConnection): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    const look = (): void => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    connection.addEventListener("icegatheringstatechange", look);
    look();
  });

/** RFC 8839 §5.1: foundation, component, transport, priority, address, port, "typ", type. */
function parseCandidate(
  line: string,
): { readonly candidate: PairingCandidate; readonly priority: number } | null {
  const [, component, transport, priority, host = "", port, , type] = line.split(" ");
  const isFit = component === "1" && transport?.toLowerCase() === "udp" && type === "host";
  if (!isFit || !isPairingHost(host)) return null;
  return { candidate: { host, port: Number(port) }, priority: Number(priority) };
}

/** The other end's answer, as it would have written it. */
function describe(to: PairingRoute, dtls: "active" | "passive"): string {
  const candidates = to.candidates.map(
    ({ host, port }, i) =>
      `a=candidate:${i + 1} 1 udp ${2_113_937_151 - i} ${host} ${port} typ host`,
  );
  const fingerprint = toHex(to.dtlsFingerprint).toUpperCase().match(/../g) ?? [];
  return [
    "v=0",
    "o=- 1 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    ...candidates,
    `a=ice-ufrag:${to.iceUfrag}`,
    `a=ice-pwd:${to.icePwd}`,
    `a=fingerprint:sha-256 ${fingerprint.join(":")}`,
    `a=setup:${dtls}`,
    "a=mid:0",
    "a=sctp-port:5000",
    `a=max-message-size:${MESSAGE_BYTES_MAX}`,
    "",
  ].join("\r\n");
}
