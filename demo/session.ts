/**
 * The one open mesh of this page: opening, reopening, and its status as a signal.
 *
 * @module
 */

import { signal, type Signal } from "@preact/signals";
import { isMeshError, openMesh, type Mesh, type MeshStatus } from "rowmesh";
import { hubJoinLink } from "./join-link.ts";
import { schema } from "./schema.ts";
import { remember, settings } from "./settings.ts";
import { complain } from "./toasts.tsx";

export type Session =
  | { readonly type: "welcome" }
  | { readonly type: "opening" }
  | { readonly type: "failed"; readonly error: unknown }
  | { readonly type: "open"; readonly mesh: Mesh };

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
 * Opens the notebook of the settings, and joins the hub that serves the page if it never joined
 * any mesh. A failure becomes the session's state.
 */
export async function openSession(): Promise<void> {
  const { name, notebook, offline } = settings.value;
  session.value = { type: "opening" };
  const joinLink = settings.value.joinLink ?? (await hubJoinLink());
  const options = {
    name: notebook,
    schema,
    deviceName: name ?? "",
    network: offline ? "off" : "on",
  } as const;
  try {
    begin(await openMesh(joinLink === null ? options : { ...options, join: joinLink }));
    remember({ joinLink });
  } catch (error) {
    if (joinLink !== null && mayOpenWithoutLink(error)) {
      await openWithoutLink(joinLink, error);
      return;
    }
    session.value = { type: "failed", error };
  }
}

/** Closes the mesh and opens it again: after a new name, another notebook, or a failure. */
export async function reopenSession(): Promise<void> {
  const current = session.value;
  session.value = { type: "opening" };
  status.value = null;
  delete window.rowmesh;
  if (current.type === "open") await current.mesh.close();
  await openSession();
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
  remember({ joinLink: link });
  return "joined";
}

/** Opens the mesh of the link as a notebook of its own; this one stays on the device, closed. */
export async function openAsNewNotebook(link: string): Promise<void> {
  const suffix = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16));
  remember({ notebook: `field-notebook-${suffix.join("")}`, joinLink: link });
  foreignLink.value = null;
  await reopenSession();
}

function begin(mesh: Mesh): void {
  mesh.onStatus((next) => {
    status.value = next;
  });
  window.rowmesh = { mesh };
  session.value = { type: "open", mesh };
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

function mayOpenWithoutLink(error: unknown): boolean {
  return isMeshError(error, "ERR_MESH_DIFFERENT") || isMeshError(error, "ERR_INVITE_INVALID");
}

async function openWithoutLink(link: string, error: unknown): Promise<void> {
  remember({ joinLink: null });
  if (isMeshError(error, "ERR_MESH_DIFFERENT")) foreignLink.value = link;
  else complain("join by that link", error);
  await openSession();
}
