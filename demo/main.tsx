/**
 * Starts the field notebook.
 *
 * @module
 */

import { render } from "preact";
import { registerSW } from "virtual:pwa-register";
import { App, followAddress, followShortcuts } from "./app.tsx";
import { takeJoinLink } from "./join-link.ts";
import { followName, joinByLink, openSession, session } from "./session.ts";
import { followOtherTabs, remember, settings } from "./settings.ts";

import { attempt, complain, say } from "./toasts.tsx";

function useJoinLink(): void {
  const link = takeJoinLink();
  if (link === null) return;
  const current = session.value;
  if (current.type === "open") {
    attempt("join", async () => {
      if ((await joinByLink(current.mesh, link)) === "joined") say("Joined the mesh.");
    });
  } else {
    remember({ pendingLink: link });
  }
}

followOtherTabs();
followName();
useJoinLink();
// A link opened in a page that already runs changes only the fragment.
addEventListener("hashchange", useJoinLink);
followAddress();
followShortcuts();

const root = document.getElementById("app");
if (root === null) throw new RangeError("index.html has no #app");
render(<App />, root);
if (settings.value.name !== null) void openSession();

const update = registerSW({
  onNeedRefresh: () =>
    say(
      "A new version of the app is ready.",
      { label: "Reload", run: () => void update(true) },
      "untilClosed",
    ),
  onRegisterError: (error: unknown) => complain("prepare the app for use without a network", error),
});
