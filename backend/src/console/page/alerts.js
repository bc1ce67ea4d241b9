// What is amiss, told once; and what was.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { button, el } from "./dom.js";
import { words } from "./format.js";
import { filters, listed } from "./list.js";
import { act, acts, badge, part } from "./object.js";
import { when } from "./time.js";

const ROUTE = "/api/monitoring/alerts";

const FIELDS = [{ name: "state", label: "State", options: ["firing", "resolved"] }];

export const load = ({ query }) => get(ROUTE, { state: query.get("state") ?? "firing", limit: 50, cursor: query.get("cursor") });

const isResolved = ({ query }) => query.get("state") === "resolved";

const silent = ({ silencedUntil }) => (silencedUntil !== null && Date.parse(silencedUntil) > Date.now() ? when(silencedUntil) : "—");

export const parts = (answer, page) => [
  filters(FIELDS, page),
  part("acts", null, () => [acts(act("Test the destinations…", () => test(page), { id: "test" }))]),
  listed(answer, page, {
    label: "Alerts",
    key: (alert) => alert.fingerprint,
    empty: isResolved(page) ? "Nothing was amiss." : "No alert is firing.",
    columns: [
      { name: "Alert", of: (alert) => el("strong", null, alert.alert) },
      { name: "Severity", of: (alert) => badge(alert.severity) },
      { name: "What", of: (alert) => [alert.summary, el("small", null, Object.entries(alert.labels).map(([name, value]) => `${words(name)} ${value}`).join(", "))] },
      { name: "Since", kind: "time", of: (alert) => when(alert.startsAt) },
      isResolved(page) ? { name: "Ended", kind: "time", of: (alert) => when(alert.endsAt) } : { name: "Silent until", kind: "time", of: silent },
    ],
    act: (alert) => alert.endsAt === null && button("Silence…", () => silence(alert, page), { id: `silence-${alert.fingerprint}`, "aria-label": `Silence ${alert.alert}` }),
  }),
];

function silence({ fingerprint, alert }, page) {
  ask({
    title: `Silence ${alert}`,
    says: "Nobody is told of it until then, by mail or by webhook. It goes on firing here, and is told again after that if it still does.",
    fields: [{ name: "hours", label: "For how many hours", type: "number", required: true, min: 1, max: 168, step: 1, value: "4" }],
    confirm: "Silence",
    run: ({ hours, reason }) => post(`${at(ROUTE, fingerprint)}/silence`, { until: new Date(Date.now() + hours * 3_600_000).toISOString(), reason }),
    done: () => page.changed("It is silent."),
  });
}

const said = ({ channel, to, outcome, error }) => `${[channel, to].filter(Boolean).join(" ")}: ${outcome}${error ? `, ${error}` : ""}.`;

function test(page) {
  ask({
    title: "Test the destinations",
    says: "One test alert goes to each destination that is set: ALERT_EMAIL_TO and ALERT_WEBHOOK_URL.",
    reason: false,
    confirm: "Send the test",
    run: () => post(`${ROUTE}/test`),
    done: ({ data }) => page.changed(data.length === 0 ? "No destination is set." : data.map(said).join(" ")),
  });
}
