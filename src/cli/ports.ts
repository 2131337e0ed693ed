/**
 * Whether the hub's ports can be had, asked before anything is opened: libp2p and its native WebRTC
 * say only that they cannot listen, not why.
 *
 * @module
 */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { HubPorts } from "./hub-options.ts";

/** @throws the system's error: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL` … */
export async function tryPorts(host: string, ports: HubPorts): Promise<void> {
  await tryTcp(host, ports.websocket);
  await tryTcp(host, ports.tcp);
  await tryUdp(host, ports.webrtc);
}

export function tryTcp(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

function tryUdp(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve()));
  });
}
