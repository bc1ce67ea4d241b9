// The console: which page is seen, what it shows, and when that is asked for again.
import { get } from "./api.js";
import { button, el, replace } from "./dom.js";
import { help, listen } from "./keys.js";
import { PAGES, place } from "./pages.js";
import { search } from "./search.js";
import { form, offer, signOut, takeLink } from "./sign_in.js";

/** How often a page's data is asked for again, while somebody sees it. */
const ASK_MS = 5_000;

/** How long what was said is seen. */
const SAID_MS = 10_000;

const element = (id) => document.getElementById(id);
const main = element("main");

/** Whom the audit trail names; null while nobody is signed in. */
let actor = null;
/** What is seen, and what each of its parts shows, as text. */
let seen = null;
let shown = new Map();
let saying = null;

/** Says something, to screen readers too. */
function announce(text) {
  clearTimeout(saying);
  element("said").textContent = text;
  saying = setTimeout(() => element("said").replaceChildren(), SAID_MS);
}

/** Goes to an address of the console. */
function go(address, { keepFocus = false } = {}) {
  history.pushState(null, "", address);
  return open({ keepFocus });
}

/** Shows the page of the address, from nothing. */
async function open({ keepFocus = false } = {}) {
  const { module, id, path, title } = place(location.pathname);
  const isSamePlace = keepFocus && seen?.path === path;
  const page = { module, id, path, query: new URLSearchParams(location.search), state: {}, announce, go, isLoading: false };
  page.refresh = () => (seen === page ? load() : undefined);
  page.redraw = () => seen === page && page.data && draw(page.data);
  page.changed = async (text) => {
    announce(text);
    await page.refresh();
  };
  seen = page;
  document.title = `${id ?? title} · Tollgate`;
  for (const link of element("nav").querySelectorAll("a")) {
    const isHere = link.getAttribute("href") === (module.under ?? path);
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  element("nav").hidden = isNarrow();
  if (!isSamePlace) {
    shown = new Map();
    main.setAttribute("aria-busy", "true");
    main.replaceChildren(el("h1", { tabindex: "-1" }, title), el("div", { id: "away", role: "alert" }));
    main.querySelector("h1").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  await load();
}

/** Asks for the data of what is seen, and shows what of it has changed. */
async function load() {
  const page = seen;
  // What is on its way may have been read before what was just done.
  page.isStale = page.isLoading;
  if (page.isLoading) return;
  page.isLoading = true;
  try {
    const data = await page.module.load(page);
    if (seen !== page) return;
    page.data = data;
    draw(data);
    away(null);
  } catch (error) {
    if (seen === page) fail(error);
  } finally {
    page.isLoading = false;
  }
  if (page.isStale && seen === page) await load();
}

function draw(data) {
  const parts = seen.module.parts(data, seen).filter(Boolean);
  const names = new Set(parts.map(({ id }) => id));
  for (const section of main.querySelectorAll("section.part")) {
    if (names.has(section.id)) continue;
    section.remove();
    shown.delete(section.id);
  }
  let before = element("away");
  for (const { id, seen: text, build } of parts) {
    const section = element(id) ?? el("section.part", { id });
    if (before.nextElementSibling !== section) before.after(section);
    before = section;
    const signature = JSON.stringify(text ?? null);
    if (shown.get(id) === signature) continue;
    shown.set(id, signature);
    replace(section, build());
    const heading = section.querySelector("h2[id]");
    if (heading) section.setAttribute("aria-labelledby", heading.id);
  }
  main.setAttribute("aria-busy", "false");
}

function fail(error) {
  if (!error.status && !error.text) throw error;
  if (error.status === 401) return signedOut();
  main.setAttribute("aria-busy", "false");
  away(error);
}

/** What is seen stays, and it is said that it may be out of date. */
function away(error) {
  const place = element("away");
  const text = error === null ? "" : `${shown.size > 0 ? "What you see may be out of date. " : ""}${error.text}`;
  if (place === null || place.dataset.text === text) return;
  place.dataset.text = text;
  place.replaceChildren(...(text === "" ? [] : [el("p.notice.bad", null, text, " ", button("Try again", load, { id: "again" }))]));
}

/** Shows one thing, of nobody. */
function only(children) {
  seen = null;
  shown = new Map();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  replace(main, [el("section.only", null, children)]);
  main.setAttribute("aria-busy", "false");
  main.querySelector("h1").focus();
}

function signedOut() {
  actor = null;
  element("bar").replaceChildren();
  element("nav").replaceChildren();
  element("nav").hidden = true;
  only(form(start));
}

/** Where there is no room for the pages beside what is seen, they are behind a button. */
const narrow = matchMedia("(max-width: 56rem)");
const isNarrow = () => narrow.matches;

function frame() {
  const menu = button("Pages", () => {
    element("nav").hidden = !element("nav").hidden;
    menu.setAttribute("aria-expanded", String(!element("nav").hidden));
  }, { id: "menu", "aria-controls": "nav", "aria-expanded": "false" });
  const leave = async () => {
    await signOut().catch((error) => announce(error.text));
    signedOut();
  };
  element("bar").replaceChildren(
    el("a.brand", { href: "/console" }, "Tollgate"),
    menu,
    button("Search", () => search(go), { id: "find", "aria-keyshortcuts": "/" }),
    el("span.who", null, actor),
    button("Keys", () => help(PAGES), { id: "help", "aria-keyshortcuts": "?" }),
    button("Sign out", leave, { id: "sign-out" }),
  );
  const way = ({ path, title, letter }) => el("li", null, el("a", { href: path, "aria-keyshortcuts": `g ${letter}` }, title, el("kbd", { "aria-hidden": "true" }, letter)));
  element("nav").replaceChildren(el("ul", null, PAGES.map(way)));
  element("nav").hidden = isNarrow();
}

/** Begins for whoever is signed in, or asks for that. */
async function start() {
  try {
    actor = (await get("/console/session")).actor;
  } catch (error) {
    if (error.status === 401 || error.status === 403) return signedOut();
    only([el("h1", { tabindex: "-1" }, "The console cannot be shown now"), el("p.notice.bad", null, error.text), button("Try again", start)]);
    return;
  }
  frame();
  await open();
}

async function begin() {
  const token = takeLink();
  await (token === null ? start() : only(offer(token, start)));
}

listen(PAGES, { go, search: () => search(go), isSignedIn: () => actor !== null });
narrow.addEventListener("change", () => (element("nav").hidden = actor === null || isNarrow()));
window.addEventListener("popstate", () => actor !== null && open());
window.addEventListener("hashchange", () => location.hash.startsWith("#link=") && begin());

// Ways within the console lead there without another load of it.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !isPlain || event.defaultPrevented || actor === null) return;
  const address = new URL(link.href, location.href);
  const isOurs = address.origin === location.origin && /^\/console(\/(?!files\/)|$)/.test(address.pathname);
  if (!isOurs || link.hash !== "") return;
  event.preventDefault();
  go(address.pathname + address.search);
});

/** While a question is open, what it is about stays as it was. */
const isAsking = () => document.querySelector("dialog[open]") !== null;
setInterval(() => seen !== null && !document.hidden && !isAsking() && seen.module.asks !== false && load(), ASK_MS);
document.addEventListener("visibilitychange", () => seen !== null && !document.hidden && seen.module.asks !== false && load());
await begin();
