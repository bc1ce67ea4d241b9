// `/`: whatever is in hand, found.
import { get } from "./api.js";
import { dialog } from "./act.js";
import { el } from "./dom.js";
import { words } from "./format.js";

/** How long nothing more may be typed before it is looked for. */
const PAUSE_MS = 150;

/** An event that the backend does not know may still be in a relay's journal. */
const EVENT = /^evt_\w+$/;

/** Asks what to look for; `go` leads to what is chosen. */
export function search(go) {
  const input = el("input", {
    type: "search",
    id: "search",
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": "An id, a key, an e-mail address, the start of a name",
    placeholder: "An id, a key, an e-mail address, the start of a name",
  });
  const found = el("ul.found", { "aria-label": "Found" });
  const said = el("p.quiet", { role: "status" });
  const opened = dialog("Search", input, said, found);
  let pause = null;
  let asked = 0;
  const look = async () => {
    const [mine, q] = [++asked, input.value.trim()];
    if (q === "") return show([], "");
    try {
      const { data } = await get("/api/admin/search", { q });
      if (mine !== asked) return;
      if (data.length > 0 || !EVENT.test(q)) show(data, data.length === 0 ? "Nothing has that id, key or address, and no name begins so." : "");
      else show([{ type: "event", id: q, title: "In a relay's journal?", url: `/console/events/${q}` }], "No such event has come to the backend.");
    } catch (error) {
      if (mine === asked) show([], error.text);
    }
  };
  const show = (results, text) => {
    said.textContent = text;
    found.replaceChildren(...results.map(result));
  };
  const result = ({ type, id, title, url }) => {
    const leave = (event) => {
      event.preventDefault();
      opened.close();
      go(url);
    };
    const named = title === id ? null : el("span.quiet", null, id);
    return el("li", null, el("a", { href: url, onclick: leave }, el("span.badge.plain", null, words(type)), " ", title, " ", named));
  };
  input.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(look, PAUSE_MS);
  });
  opened.addEventListener("keydown", (event) => {
    const links = [...found.querySelectorAll("a")];
    const index = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown") links[Math.min(index + 1, links.length - 1)]?.focus();
    else if (event.key === "ArrowUp") (links[index - 1] ?? input).focus();
    else if (event.key === "Enter" && document.activeElement === input) enter();
    else return;
    event.preventDefault();
  });
  const enter = async () => {
    clearTimeout(pause);
    await look();
    found.querySelector("a")?.click();
  };
  input.focus();
}
