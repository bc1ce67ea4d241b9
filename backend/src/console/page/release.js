// One release: its files, to whom it is offered, and its end.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { el } from "./dom.js";
import { sublist } from "./list.js";
import { act, acts, badge, code, facts, panel, part } from "./object.js";
import { when } from "./time.js";

const path = (id) => at("/api/admin/releases", id);

export const load = ({ id }) => get(path(id));

export function parts(release, page) {
  const { files, notes, ...head } = release;
  return [
    part("head", [head, files.every(({ stored }) => stored)], () => ofHead(head, files, page)),
    notes && panel("notes", "Notes", notes, () => el("p.text", null, notes)),
    sublist("files", "Files", files, FILES),
  ];
}

function ofHead(release, files, page) {
  const { status, rolloutPercent } = release;
  const isWhole = files.every(({ stored }) => stored);
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, `${release.version} `, badge(status)),
    facts([
      ["Release", code(release.id)],
      ["Name", release.name],
      ["Channel", release.channel],
      ["Offered to", `${rolloutPercent} % of all installations`],
      ["Tiers", release.tiers.join(", ") || "all"],
      ["Feature", release.feature],
      ["Made", when(release.createdAt)],
      ["Published", release.publishedAt && when(release.publishedAt)],
      ["Withdrawn", release.withdrawnAt && when(release.withdrawnAt)],
      ["Why", release.withdrawReason],
    ]),
    acts(
      status === "draft" && isWhole && act("Publish…", () => publish(page, rolloutPercent), { id: "publish", kind: "main" }),
      status === "published" && act("Roll out…", () => rollOut(page, rolloutPercent), { id: "rollout" }),
      status !== "withdrawn" && act("Withdraw…", () => withdraw(page), { id: "withdraw", kind: "danger" }),
    ),
  ];
}

function publish(page, percent) {
  ask({
    title: "Publish the release",
    says: `From now on it is offered to ${percent} % of all installations of its channel. Its files and its version are then the same for good.`,
    reason: false,
    confirm: "Publish",
    run: () => post(`${path(page.id)}/publish`),
    done: () => page.changed("It is published."),
  });
}

function rollOut(page, percent) {
  ask({
    title: "Roll out the release",
    says: "Who was offered it already keeps it: a smaller share stops others from getting it.",
    fields: [{ name: "percent", label: "Per cent of all installations", type: "number", required: true, min: 0, max: 100, step: 1, value: String(percent) }],
    confirm: "Roll out",
    run: (values) => post(`${path(page.id)}/rollout`, values),
    done: (release) => page.changed(`It is offered to ${release.rolloutPercent} %.`),
  });
}

function withdraw(page) {
  ask({
    title: "Withdraw the release",
    says: "It is offered to nobody any more, and those who have it are offered the newest that is left. Nothing takes it back: publish a newer version instead.",
    confirm: "Withdraw",
    kind: "danger",
    run: ({ reason }) => post(`${path(page.id)}/withdraw`, { reason }),
    done: () => page.changed("It is withdrawn."),
  });
}

const FILES = {
  key: (file) => file.name,
  columns: [
    { name: "File", of: (file) => file.name },
    { name: "State", of: (file) => (file.stored ? badge("stored", "good") : badge("missing", "bad")) },
    { name: "For", of: (file) => `${file.platform} ${file.arch}` },
    { name: "Bytes", kind: "num", of: (file) => new Intl.NumberFormat("en").format(file.size) },
    { name: "SHA-512", kind: "id", of: (file) => el("code", { title: file.sha512 }, `${file.sha512.slice(0, 12)}…`) },
  ],
};
