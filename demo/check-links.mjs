/**
 * Which links really exist between two browsers, from WebRTC's own statistics rather than from
 * what the package says of itself.
 *
 * @module
 */

/** Runs in the page before anything else: keeps hold of every connection the page makes. */
export function watchConnections() {
  const Native = window.RTCPeerConnection;
  const connections = [];
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };
  window.openPairs = async () => {
    const open = connections.filter(({ connectionState }) => connectionState === "connected");
    return (await Promise.all(open.map(selectedPair))).filter((pair) => pair !== null);
  };

  // Playwright carries the text of this one function into the page: nothing may lie outside it.
  // oxlint-disable-next-line unicorn/consistent-function-scoping
  async function selectedPair(connection) {
    const stats = await connection.getStats();
    for (const each of stats.values()) {
      const { type, selectedCandidatePairId, localCertificateId, remoteCertificateId } = each;
      const pair = type === "transport" && stats.get(selectedCandidatePairId);
      if (!pair) continue;
      const local = stats.get(pair.localCandidateId);
      const remote = stats.get(pair.remoteCandidateId);
      if (!local || !remote) continue;
      return {
        ours: stats.get(localCertificateId)?.fingerprint,
        theirs: stats.get(remoteCertificateId)?.fingerprint,
        isRelayed: local.candidateType === "relay" || remote.candidateType === "relay",
      };
    }
    return null;
  }
}

/**
 * How many connections join the two with nobody between: each end's DTLS certificate is the other's
 * remote one. Ports do not tell: behind several addresses each end may report another pair.
 */
export async function directPairs(one, other) {
  const [ours, theirs] = await Promise.all([one.openPairs(), other.openPairs()]);
  return ours.filter(
    (our) =>
      !our.isRelayed &&
      theirs.some(
        (their) =>
          !their.isRelayed &&
          our.ours !== undefined &&
          their.ours === our.theirs &&
          their.theirs === our.ours,
      ),
  ).length;
}
