/**
 * What is missing, waiting, refused or forked, each with what can be done about it. Absent when
 * there is nothing to say.
 *
 * @module
 */

import type { MeshStatus } from "rowmesh";
import type { ComponentChildren, JSX } from "preact";
import { Icon, type IconName } from "./icons.tsx";
import { count, nameOr, number } from "./words.ts";

export function TroubleCard(props: { status: MeshStatus }): JSX.Element | null {
  const { missing, incoming, waiting, refusals, forks, newKeys, peers, authors } = props.status;
  const lenders = peers.filter((peer) => peer.weLack > 0);
  const nameOfSite = (siteId: string): string =>
    nameOr(authors.find((author) => author.siteId === siteId)?.name, siteId);
  const held = waiting.held + waiting.parked;
  const troubles =
    missing + incoming.length + held + refusals.length + forks.length + newKeys.length;
  if (troubles === 0) return null;
  return (
    <article class="card" aria-labelledby="trouble-title" data-testid="trouble">
      <h2 id="trouble-title">Needs a look</h2>
      <ul class="entries">
        {missing > 0 && (
          <Note icon="clock" title={`${count(missing, "change")} not here yet`}>
            {lenders.length > 0
              ? lenders
                  .map(
                    (peer) =>
                      `${nameOr(peer.name, peer.peerId)} has ${count(peer.weLack, "one", "of them")}`,
                  )
                  .join(" · ")
              : "Nobody in reach has them; they come when their device does."}
          </Note>
        )}
        {incoming.map(({ siteId, version, bytes, totalBytes }) => (
          <Note
            key={`${siteId} ${version}`}
            icon="clock"
            title={`A large change of ${nameOfSite(siteId)} is arriving`}
          >
            {`${Math.floor((100 * bytes) / totalBytes)} % of ${(totalBytes / 1e6).toFixed(1)} MB are here; it shows when all of it is.`}
          </Note>
        ))}
        {held > 0 && (
          <Note icon="clock" title={`${count(held, "change")} waiting`}>
            {waiting.reason ?? "They came before a change they build on, which will be fetched."}
          </Note>
        )}
        {waiting.newerSchemas.map(({ version, changesets, authors: claimants }) => (
          <Note
            key={version}
            icon="clock"
            title={`${count(changesets, "change")} of a newer version of this app (schema ${version})`}
          >
            {`Written by ${claimants.slice(0, 5).map(nameOfSite).join(", ")}${claimants.length > 5 ? ` and ${claimants.length - 5} more` : ""}. Load the newest app to see ${changesets === 1 ? "it" : "them"}; until then ${changesets === 1 ? "it is" : "they are"} kept and passed on.`}
          </Note>
        ))}
        {refusals.map(({ code, count: times, remedy }) => (
          <Note key={code} icon="alert" title={count(times, "refusal")}>
            {remedy} <code>{code}</code>
          </Note>
        ))}
        {newKeys.map(({ formerSiteId, siteId, takenMs }) => (
          <Note key={siteId} icon="fork" title="This notebook exists twice">
            A copy of it wrote too. Since {new Date(takenMs).toLocaleString()} this device writes as{" "}
            <code>{siteId.slice(0, 12)}…</code> instead of <code>{formerSiteId.slice(0, 12)}…</code>
            . Rows of both were kept.
          </Note>
        ))}
        {forks.map(({ siteId, version, headers }) => (
          <Note
            key={`${siteId} ${version}`}
            icon="fork"
            title={`${nameOfSite(siteId)} exists ${headers.length > 2 ? number(headers.length) : "two"} times`}
          >
            Its storage was copied or rewound, and two copies wrote change {version} under one key.
            Both were kept and merged; each device takes a new key by itself.
          </Note>
        ))}
      </ul>
    </article>
  );
}

function Note(props: { icon: IconName; title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <li class="entry">
      <span class="entry-icon">
        <Icon name={props.icon} />
      </span>
      <span class="entry-main">
        <strong>{props.title}</strong>
        {props.children && <span class="row-detail wrap">{props.children}</span>}
      </span>
    </li>
  );
}
