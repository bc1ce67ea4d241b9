// Who is signed in: by the company's own application, or by a link whose token is exchanged for a cookie.
import { post, remove } from "./api.js";
import { button, el, heading, link } from "./dom.js";

/** The token of the link that was followed, if one was. From here on it is neither in the address nor in the history. */
export function takeLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("link");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/**
 * Asks whether to sign in by the link with this token: what opens links by itself (scanners of mail) uses none up, and nobody
 * is signed in as somebody else unawares.
 */
export function offer(token, page) {
  const name = whose(token);
  return [
    heading("Sign in", "sign-in-title"),
    el("p", null, name === null ? "This link signs you in." : "This link signs you in as:"),
    name && el("p.big", null, name),
    el("div.buttons", null, button("Continue", () => page.attempt(() => exchange(token, page)), { kind: "main", id: "continue" })),
  ];
}

async function exchange(token, page) {
  await post("/account/session", { link: token });
  await page.start();
}

/** Whom the token is for, by its own word: only to be shown. */
function whose(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
    const { email, sub } = JSON.parse(new TextDecoder().decode(bytes));
    return String(email ?? sub);
  } catch {
    return null;
  }
}

/** What whoever is not signed in sees. */
export function signedOut({ appUrl }) {
  return [
    heading("You are signed out", "signed-out-title"),
    appUrl
      ? el("p", null, "Sign in at ", link(new URL(appUrl).host, appUrl), ", then come back.")
      : el("p", null, "Ask for a link to this page: it signs you in."),
  ];
}

/** The line that says who is signed in, and lets those sign out whom a link signed in. */
export function who(me, { signedInBy }, page) {
  const leave = async () => {
    await remove("/account/session");
    await page.start();
  };
  const out = signedInBy === "link" ? button("Sign out", () => page.attempt(leave), { id: "sign-out" }) : null;
  return [el("span", null, me.email ?? me.name ?? me.userId), out];
}
