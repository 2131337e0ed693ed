/**
 * The one open mesh of this page: opening, reopening, and its status as a signal.
 *
 * @module
 */

import { effect, signal, type Signal } from "@preact/signals";
import { isMeshError, openMesh, type Mesh, type MeshStatus } from "rowmesh";
import { describeHub } from "./join-link.ts";
import { schema } from "./schema.ts";
import {
  currentNotebook,
  remember,
  rememberJoinLink,
  rememberOpen,
  settings,
  type Notebook,
} from "./settings.ts";
import { attempt, complain } from "./toasts.tsx";

export type Session =
  | { readonly type: "welcome" }
  | { readonly type: "opening" }
  | { readonly type: "failed"; readonly error: unknown }
  /** `name`: under which the others know this device. */
  | { readonly type: "open"; readonly mesh: Mesh; readonly name: string | null };

declare global {
  interface Window {
    /**
     * The developer console's handle on the running notebook, also used by `demo/check.mjs`:
     * `await rowmesh.mesh.db.query("SELECT count(*) FROM sighting")`, `rowmesh.mesh.status()`.
     */
    rowmesh?: { readonly mesh: Mesh };
  }
}

export const session: Signal<Session> = signal({ type: "welcome" });
export const status: Signal<MeshStatus | null> = signal(null);
/** A join link that leads to another mesh than this notebook's: the person decides. */
export const foreignLink: Signal<string | null> = signal(null);

/**
 * Opens the notebook of the settings; one that never joined any mesh joins the hub that serves the
 * page, unless it waits for a pairing. A failure becomes the session's state.
 */
export async function openSession(newcomer: "hub" | "pairing" = "hub"): Promise<void> {
  session.value = { type: "opening" };
  const { pendingLink } = settings.value;
  try {
    const known = pendingLink ?? currentNotebook().joinLink;
    const hub = known === null && newcomer === "hub" ? await describeHub() : null;
    begin(await openJoined(known ?? hub?.joinUrl ?? null));
  } catch (error) {
    session.value = { type: "failed", error };
  }
}

/** A link that cannot be followed keeps nobody from their notebook. */
async function openJoined(link: string | null): Promise<Mesh> {
  const { name, offline, pendingLink } = settings.value;
  const { database, joinLink } = currentNotebook();
  const options = {
    name: database,
    schema,
    deviceName: name ?? "",
    network: offline ? "off" : "on",
  } as const;
  if (link === null) return openMesh(options);
  try {
    const mesh = await openMesh({ ...options, join: link });
    rememberJoinLink(link);
    remember({ pendingLink: null });
    return mesh;
  } catch (error) {
    const isForeign = isMeshError(error, "ERR_MESH_DIFFERENT");
    if (!isForeign && !isMeshError(error, "ERR_INVITE_INVALID")) throw error;
    if (!isForeign) complain("join by the link", error);
    // Of a hub's own link nothing is said: a notebook may be opened from another mesh's page.
    else if (link === pendingLink) foreignLink.value = link;
    remember({ pendingLink: null });
    return openJoined(link === joinLink ? null : joinLink);
  }
}

/** Closes the mesh and opens it again: after a new name, another notebook, or a failure. */
export async function reopenSession(newcomer: "hub" | "pairing" = "hub"): Promise<void> {
  const current = session.value;
  session.value = { type: "opening" };
  status.value = null;
  delete window.rowmesh;
  if (current.type === "open") await current.mesh.close();
  await openSession(newcomer);
}

/**
 * A new name, given in this tab or another one, is taken on by opening again: whichever tab keeps
 * the connections tells the others. What is being written is left in peace.
 */
export function followName(): void {
  effect(() => {
    const current = session.value;
    if (current.type !== "open" || current.name === settings.value.name) return undefined;
    const timer = setInterval(() => {
      if (document.querySelector("dialog[open]") !== null) return;
      clearInterval(timer);
      attempt("open the notebook under your new name", () => reopenSession());
    }, 100);
    return () => clearInterval(timer);
  });
}

/** Joins by a link while open. A link to another mesh is set aside for the person to decide. */
export async function joinByLink(mesh: Mesh, link: string): Promise<"joined" | "foreign"> {
  try {
    await mesh.join(link);
  } catch (error) {
    if (!isMeshError(error, "ERR_MESH_DIFFERENT")) throw error;
    foreignLink.value = link;
    return "foreign";
  }
  rememberJoinLink(link);
  return "joined";
}

/**
 * Opens the mesh of the link as a notebook of its own, or with none a notebook that waits for a
 * pairing; this one stays on the device, closed.
 */
export async function openNewNotebook(joinLink: string | null): Promise<void> {
  const suffix = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16));
  foreignLink.value = null;
  rememberOpen({ database: `field-notebook-${suffix.join("")}`, joinLink });
  await reopenSession(joinLink === null ? "pairing" : "hub");
}

/** Closes the open notebook and opens another one of this device. */
export async function openNotebook(notebook: Notebook): Promise<void> {
  rememberOpen(notebook);
  await reopenSession();
}

function begin(mesh: Mesh): void {
  let { siteId } = mesh;
  mesh.onStatus((next) => {
    status.value = next;
    if (mesh.siteId === siteId) return;
    // A copy of this notebook wrote too: this one goes on under a new site.
    ({ siteId } = mesh);
    sayName(mesh);
  });
  window.rowmesh = { mesh };
  session.value = { type: "open", mesh, name: settings.value.name };
  sayName(mesh);
}

function sayName(mesh: Mesh): void {
  introduce(mesh).catch((error: unknown) => complain("write your name into the notebook", error));
}

/** Keeps this device's row of `observer`: one changeset when the name is new, none otherwise. */
async function introduce(mesh: Mesh): Promise<void> {
  const { name } = settings.value;
  await mesh.db.transaction(async (tx) => {
    const [known] = await tx.query<{ name: string | null }>(
      "SELECT name FROM observer WHERE site_id = ?",
      [mesh.siteId],
    );
    if (known === undefined) {
      await tx.exec("INSERT INTO observer (site_id, name) VALUES (?, ?)", [mesh.siteId, name]);
    } else if (known.name !== name) {
      await tx.exec("UPDATE observer SET name = ? WHERE site_id = ?", [name, mesh.siteId]);
    }
  });
}
