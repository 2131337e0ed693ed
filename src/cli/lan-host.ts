/**
 * Names that lead to a machine of the LAN, whoever says them: the hub answers to no others, and asks
 * no others.
 *
 * @module
 */

import { isIP } from "node:net";
import { hostname } from "node:os";

/** Names that no public name server can own, so that no web site can point one at this machine. */
const LAN_NAME = /^[^.]+$|\.(local|lan|internal|home\.arpa)$/;

/** `name`: of a URL. A literal address, this machine's name, or a name that only a LAN gives out. */
export function isLanHost(name: string): boolean {
  const bare = name.replace(/^\[|\]$/g, "");
  return isIP(bare) !== 0 || bare === hostname().toLowerCase() || LAN_NAME.test(bare);
}
