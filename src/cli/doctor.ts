/**
 * `rowmesh doctor`: looks at everything that is usually the cause, and says what to do.
 *
 * @module
 */

import { networkInterfaces } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { readAuthority } from "./authority-file.ts";
import { type Check, checkLine, fail, messageOf } from "./check.ts";
import { type Command, EXIT_FAILURE, EXIT_OK, print, printable, UsageError } from "./command.ts";
import {
  DEFAULT_DATA,
  DEFAULT_HOST,
  DEFAULT_PORT,
  type HubPorts,
  parsePorts,
} from "./hub-options.ts";
import { isLoopback } from "../node/link-kind.ts";
import { pageUrl } from "./join-source.ts";
import { checkDataDirectory, checkNativeWebrtc, checkNode } from "./machine-checks.ts";
import { statusOfRunning } from "./status.ts";

export const doctorCommand: Command = {
  help: `usage: rowmesh doctor [--data DIR] [--port N] [--json]
       rowmesh doctor [--json] URL

Looks at what is usually the cause when devices do not meet, one line each, with what to do: Node and
its WebRTC, the data directory, certificates, ports, addresses, multicast, and the hub itself, dialled
on every address as another device would. With the URL of a hub's page: how that hub is seen from
this machine. Nothing is changed, and no mesh is joined.

  --data DIR    the hub's data directory (default ${DEFAULT_DATA})
  --port N      the port that the hub is to have, when it does not run (default ${DEFAULT_PORT})
  --json        print JSON: {"healthy", "checks": [{"name", "verdict", "says", "remedy"}]}

exit codes: 0 nothing failed, 1 something did, 2 wrong command line`,
  run: async (args) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        data: { type: "string", default: DEFAULT_DATA },
        port: { type: "string", default: String(DEFAULT_PORT) },
        json: { type: "boolean", default: false },
      },
      allowPositionals: true,
      strict: true,
    });
    const [url] = positionals;
    if (positionals.length > 1) throw new UsageError("name one URL");
    if (values.data === "") throw new UsageError("--data needs a directory");
    const ports = parsePorts(values.port, "off");
    const page = url === undefined ? null : pageUrl(url);
    const say = (check: Check): void => {
      if (!values.json) print(printable(checkLine(check)));
    };
    const checks = await allChecks(resolve(values.data), ports, page, say);
    const healthy = checks.every(({ verdict }) => verdict !== "fail");
    if (values.json) print(JSON.stringify({ healthy, checks }, null, 2));
    return healthy ? EXIT_OK : EXIT_FAILURE;
  },
};

/** `say` is told each as soon as it is known. */
async function allChecks(
  data: string,
  ports: HubPorts,
  page: URL | null,
  say: (check: Check) => void,
): Promise<readonly Check[]> {
  const all: Check[] = [];
  const add = (...checks: readonly Check[]): void => {
    for (const check of checks) say(check);
    all.push(...checks);
  };
  const nowMs = Date.now();
  add(checkNode(process.versions.node));
  const webrtc = await checkNativeWebrtc();
  add(webrtc);
  if (page === null) add(...(await checkDataDirectory(data, nowMs)));
  // On demand: they load the network, with the native part that may be missing.
  if (webrtc.verdict === "fail") return all;
  const { checkHubAt, checkRunningHub } = await import("./hub-checks.ts");
  if (page !== null) {
    if (!isLoopbackHost(page.hostname)) add(...(await networkChecks()));
    add(...(await checkHubAt(page, nowMs)));
    return all;
  }
  try {
    const status = await statusOfRunning(data);
    const isOnLan = status === null || !status.addresses.every(isLoopback);
    if (isOnLan) add(...(await networkChecks()));
    if (status === null) add(await portCheck(ports));
    else add(...(await checkRunningHub(status, readAuthority(data)?.root ?? null, nowMs)));
  } catch (error) {
    const [says = "", ...rest] = messageOf(error).split(". ");
    add(fail("hub", says, rest.join(". ")));
  }
  return all;
}

/** Between a machine and itself lies no network. */
const isLoopbackHost = (hostname: string): boolean =>
  hostname === "localhost" || /^127\.|^\[::1\]$/.test(hostname);

async function networkChecks(): Promise<readonly Check[]> {
  const { checkAddresses, checkMulticast } = await import("./network-checks.ts");
  const interfaces = networkInterfaces();
  return [...checkAddresses(interfaces), ...(await checkMulticast(interfaces))];
}

async function portCheck(ports: HubPorts): Promise<Check> {
  const { checkPorts } = await import("./network-checks.ts");
  return checkPorts(DEFAULT_HOST, ports);
}
