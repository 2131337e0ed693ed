/** Two hubs on one LAN, in one mesh. */
import { strict as assert } from "node:assert";
import { inviteLink, parseInviteLink } from "../../src/protocol/genesis.ts";
import { doctorOn, type Hub } from "./hosts.ts";
import { describe, directPeers, until } from "./lab.ts";
import type { Scenario } from "./scenarios.ts";

/** The same mesh, and its hub where nobody is: only multicast leads there. */
export function linkWithDeadAddress(link: string, peerId: string): string {
  const dead = `/ip4/10.77.0.250/tcp/4382/p2p/${peerId}`;
  return inviteLink({ ...parseInviteLink(link), hubs: [dead] }, "http://lab/");
}

/** Until this hub has a link to the other. @returns milliseconds */
export const hubsLinked = (hub: Hub, other: Hub): Promise<number> =>
  until("the hubs are linked over TCP", async () => {
    const { peers } = await hub.status();
    return peers.some(
      ({ peerId, link, role }) => peerId === other.peerId() && link === "tcp" && role === "hub",
    );
  });

/**
 * A second hub joins with a link whose address is dead. A page that was open before learns of it;
 * two browsers that reach only one hub each get each other's rows; the first hub dies and comes back.
 */
export const twoHubs: Scenario = {
  name: "two-hubs",
  browsers: 1,
  bounds: {
    foundMs: 15_000,
    learntMs: 30_000,
    crossedMs: 2_000,
    afterDeathMs: 2_000,
    backMs: 15_000,
    outsidePackets: 0,
  },
  run: async (lab) => {
    const { packets: packetsBefore } = lab.lan.outside();
    const [one] = lab.browsers;
    const first = lab.hub;
    const second = await lab.addHub(linkWithDeadAddress(first.joinLink(), first.peerId()));
    const foundMs = await hubsLinked(second, first);
    const learntMs = await until(
      "an open page is linked with the second hub",
      async () => (await directPeers(one!)).has(second.peerId()),
      () => describe(lab.browsers),
    );
    const two = await lab.addBrowser();
    await two.open(second.url());
    await lab.linked();

    const apart = [
      [one!.host, two.host],
      [one!.host, second.host],
      [two.host, first.host],
    ] as const;
    for (const [host, other] of apart) host.block(other);
    await until("each browser has its hub alone", async () => {
      const [ofOne, ofTwo] = [await directPeers(one!), await directPeers(two)];
      const isSo = [ofOne.size, ofTwo.size].every((size) => size === 1);
      return isSo && ofOne.has(first.peerId()) && ofTwo.has(second.peerId());
    });
    await lab.write(3);
    const crossedMs = await lab.synced();
    assert.equal((await hubPeers(second)).join(), `${first.peerId()} tcp`);
    for (const [host, other] of apart) host.unblock(other);
    await lab.linked();

    const seen = await doctorOn(two.host, first.url());
    assert.deepEqual([seen["multicast"], seen["name"], seen["tcp"]], ["ok", "ok", "ok"]);
    await first.kill();
    await until("the page that began at the first hub has the second alone", async () => {
      const peers = await directPeers(one!);
      return peers.has(second.peerId()) && !peers.has(first.peerId());
    });
    await lab.write(1);
    const afterDeathMs = await lab.synced();

    await first.start();
    await hubsLinked(second, first);
    const backMs = await lab.linked();
    await lab.agreed();
    await second.kill();
    const outsidePackets = lab.lan.outside().packets - packetsBefore;
    return { foundMs, learntMs, crossedMs, afterDeathMs, backMs, outsidePackets };
  },
};

async function hubPeers({ status }: Hub): Promise<readonly string[]> {
  const { peers } = await status();
  const hubs = peers.filter(({ role, link }) => role === "hub" && link !== "none");
  return hubs.map(({ peerId, link }) => `${peerId} ${link}`);
}
