// The licence's key, and the machines that work under it.
import { remove } from "./api.js";
import { confirm } from "./dialog.js";
import { button, el, heading } from "./dom.js";
import { count, day, moment } from "./format.js";

export const of = ({ licenses }) => licenses;

/** The licences whose key is to be seen. */
const seen = new Set();

export function render(licenses, page) {
  if (licenses.data.length === 0) return [];
  const title = licenses.data.length === 1 ? "Licence" : "Licences";
  return [heading(title, "licenses-title"), ...licenses.data.map((license) => shown(license, page))];
}

function shown(license, page) {
  const { id, status, maxActivations, machines, expiresAt } = license;
  return el(
    "div.license",
    null,
    key(license, page),
    status === "active" ? null : el("p.notice.bad", null, amiss(status, expiresAt)),
    el("h3", null, `${machines.length} of ${count(maxActivations, "machine")}`),
    machines.length === 0
      ? el("p.quiet", null, status === "active" ? "No machine works under it yet. Enter the key in the app." : "None.")
      : el("ul.rows", { "aria-label": `Machines of licence ${id.slice(-4)}` }, machines.map((one) => machine(one, page))),
  );
}

function key({ id, key }, page) {
  const code = el("code", { id: `key-${id}` });
  const show = button("", () => {
    if (!seen.delete(id)) seen.add(id);
    write();
  }, { id: `show-${id}`, "aria-controls": `key-${id}` });
  const write = () => {
    code.textContent = seen.has(id) ? key : `${key.slice(0, 5)}••••••••`;
    show.textContent = seen.has(id) ? "Hide the key" : "Show the key";
  };
  write();
  return el("div.key", null, code, el("div.buttons", null, show, copy(key, page)));
}

/** A button that copies; none where the browser lets no page do that. */
export function copy(text, page) {
  if (!navigator.clipboard) return null;
  return button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    page.announce("Copied.");
  });
}

function amiss(status, expiresAt) {
  if (status === "expired") return `It expired${expiresAt ? ` on ${day(expiresAt)}` : ""}: apps do not work under it.`;
  return status === "revoked" ? "It was revoked: apps do not work under it." : "It is suspended: apps do not work under it.";
}

function machine({ id, name, platform, appVersion, lastSeenAt, stale }, page) {
  const label = name ?? "A machine without a name";
  const about = [platform, appVersion && `version ${appVersion}`, lastSeenAt && `seen ${moment(lastSeenAt)}`];
  return el(
    "li",
    null,
    el("span.main", null, label, el("small", null, about.filter(Boolean).join(", "))),
    stale && el("span.state", null, "silent for long"),
    button("Free the seat…", () => free(id, label, page), { id: `free-${id}`, "aria-label": `Free the seat of ${label}` }),
  );
}

function free(id, label, page) {
  confirm({
    title: `Free the seat of ${label}`,
    content: el("p", null, "The app stops working there, and another machine can have the seat."),
    confirm: "Free the seat",
    kind: "danger",
    act: async () => {
      await remove(`/api/license/machines/${encodeURIComponent(id)}`);
      await page.changed(null, `The seat of ${label} is free.`);
    },
  });
}
