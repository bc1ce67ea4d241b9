// The page: what is loaded, when, and where it is shown.
import { get } from "./api.js";
import * as billing from "./billing.js";
import { comeBack } from "./checkout.js";
import { button, el, heading, replace } from "./dom.js";
import * as keys from "./keys.js";
import * as licenses from "./licenses.js";
import { Live } from "./live.js";
import * as plan from "./plan.js";
import { offer, signedOut, takeLink, who } from "./sign_in.js";
import { headline } from "./standing.js";

const SECTIONS = { plan, billing, licenses, keys };
const ROUTES = {
  current: "/api/subscriptions/current",
  me: "/api/user/me",
  plans: "/api/subscriptions/plans?limit=100",
  licenses: "/api/license",
  card: "/api/stripe/billing/payment-method",
  invoices: "/api/invoices/history?limit=6",
  keys: "/api/api-keys?limit=100",
};

const place = (id) => document.getElementById(id);
const main = place("main");

/** How long what was said is seen. */
const SAID_MS = 10_000;

/** What each section shows, as text: one that would show the same is left alone. */
let shown = {};
/** What the user has, in words: a change is said. */
let had = null;
/** How the viewer is signed in; null before that is known. */
let session = null;
/** What tells of changes; null while no sections are seen. */
let live = null;
/** The newest load: an older one that comes later shows nothing. */
let loads = 0;
let saying = null;

const page = {
  /** Says something, to screen readers too. */
  announce(text) {
    clearTimeout(saying);
    place("status").textContent = text ?? "";
    saying = setTimeout(() => place("status").replaceChildren(), SAID_MS);
  },

  /** Does something, and says what goes wrong. */
  async attempt(act) {
    place("alert").textContent = "";
    try {
      await act();
    } catch (error) {
      if (error.status === 401 && live !== null) await page.start();
      else place("alert").textContent = error.text ?? String(error);
    }
  },

  /** Shows what has changed; `changed` is what the service answered, which may not have written it yet. */
  async changed(changed, text) {
    // What the viewer did is said in its own words.
    had = null;
    await load();
    if (text !== null) page.announce(changed?.pending ? "It is done, and will be seen here in a moment." : text);
  },

  /** Begins anew. */
  async start() {
    leave();
    session = null;
    place("alert").textContent = "";
    main.setAttribute("aria-busy", "true");
    await load();
  },
};

/** Loads everything, and shows what has changed of it. */
async function load() {
  const mine = ++loads;
  try {
    session ??= await get("/account/session");
    if (session.signedInBy === null) return mine === loads && signOut();
    const values = await Promise.all(Object.values(ROUTES).map(get));
    if (mine === loads) show(Object.fromEntries(Object.keys(ROUTES).map((name, index) => [name, values[index]])));
  } catch (error) {
    if (mine === loads) fail(error);
  }
}

function show(data) {
  if (live === null) {
    const section = (name) => el("section", { id: name, "aria-labelledby": `${name}-title` });
    main.replaceChildren(...Object.keys(SECTIONS).map(section));
    main.setAttribute("aria-busy", "false");
    live = new Live(load);
    replace(place("who"), who(data.me, session, page));
  }
  sayAway(false);
  for (const [name, { of, render }] of Object.entries(SECTIONS)) {
    const seen = of(data);
    const text = JSON.stringify(seen);
    if (shown[name] === text) continue;
    shown[name] = text;
    const section = place(name);
    replace(section, render(seen, page));
    section.hidden = section.childElementCount === 0;
  }
  const has = headline(data.current);
  if (had !== null && had !== has) page.announce(has);
  had = has;
  live.follow(data.licenses.data.map((license) => license.key));
}

function fail(error) {
  if (error.status === 401) {
    signOut();
  } else if (live !== null) {
    // What is seen stays; it is asked again.
    sayAway(true);
  } else {
    only(away(error));
    setTimeout(() => place("away-title") && load(), 5_000);
  }
}

function sayAway(isAway) {
  const alert = place("alert");
  if (isAway === "away" in alert.dataset) return;
  alert.textContent = isAway ? "The service cannot be reached. What you see may be out of date." : "";
  if (isAway) alert.dataset.away = "";
  else delete alert.dataset.away;
}

function away(error) {
  return [
    heading("This cannot be shown now", "away-title"),
    el("p", null, error.text ?? "Something went wrong."),
    el("div.buttons", null, button("Try again", load, { kind: "main", id: "again" })),
  ];
}

function signOut() {
  leave();
  only(signedOut(session));
  session = null;
}

/** Shows nothing of anybody any more. */
function leave() {
  live?.stop();
  live = null;
  shown = {};
  had = null;
  place("who").replaceChildren();
}

/** Shows one thing in place of all sections. */
function only(children) {
  replace(main, [el("section", { "aria-labelledby": children[0].id }, children)]);
  main.setAttribute("aria-busy", "false");
}

async function begin() {
  const token = takeLink();
  if (token !== null) {
    leave();
    only(offer(token, page));
    return;
  }
  const said = comeBack();
  await page.start();
  if (said !== null && live !== null) page.announce(said);
}

window.addEventListener("hashchange", () => location.hash.length > 1 && begin());
// Who has signed in elsewhere, and comes back.
document.addEventListener("visibilitychange", () => !document.hidden && place("signed-out-title") && load());
// From the browser's memory, as it was when it was left.
window.addEventListener("pageshow", (event) => event.persisted && begin());
await begin();
