// How it all stands: health, alerts, events, money, apps; each figure leads to its list.
import { get, health } from "./api.js";
import { chart } from "./chart.js";
import { RANGES, writer } from "./charts.js";
import { el } from "./dom.js";
import { money, words } from "./format.js";
import { table } from "./list.js";
import { badge, nothing, panel, part, sums, to } from "./object.js";
import { daysAgo, ms, span, when } from "./time.js";

/** What is drawn, each with the charts that it leads to. */
const TRENDS = {
  events: ["Events", "events"],
  event_lag_p95_ms: ["Lag, 95 %", "events"],
  payments_failed: ["Failed payments", "money"],
  revenue: ["Revenue", "money"],
  streams: ["Streams", "service"],
  dead_letters: ["Dead letters", "events"],
};

/** How high each of them is: a look is enough. */
const TREND_HEIGHT = 110;

const rangeOf = ({ query }) => (query.get("range") === "30 days" ? "30 days" : "24 hours");

export async function load(page) {
  const [days, step] = RANGES[rangeOf(page)];
  const time = { step, from: daysAgo(days), to: daysAgo(0) };
  const [report, durability, stats, ...trends] = await Promise.all([
    health(),
    get("/api/monitoring/event-durability", { hours: 24 }),
    get("/api/admin/stats"),
    ...Object.keys(TRENDS).map((metric) => get("/api/analytics/trends", { metric, ...time })),
  ]);
  return { report, durability, stats, trends };
}

export function parts({ report, durability, stats, trends }, page) {
  const { webhooks, desktop, relays, deadLetters } = durability;
  const { generatedAt, ...numbers } = stats;
  const { alerts, ...health } = report;
  return [
    panel("firing", "Alerts", alerts, () => firing(alerts)),
    panel("health", "Health", health, () => checks(health)),
    part("trends", trends, () => drawn(trends, page)),
    panel("events", "Events, 24 hours", webhooks, () => ofEvents(webhooks)),
    panel("apps", "Desktop apps, 24 hours", [desktop, deadLetters, numbers.connected, numbers.machines], () => ofApps(desktop, deadLetters, stats)),
    panel("money", "Money", [numbers.paid24h, numbers.payments24h, numbers.mrr, numbers.inGrace, numbers.retrySuccessRate], () => ofMoney(stats)),
    panel("relays", "Relays", relays, () => ofRelays(relays)),
    panel("customers", "Customers", [numbers.customers, numbers.tiers, numbers.subscriptions, numbers.licenses], () => ofCustomers(stats)),
  ];
}

/** A figure that leads to what it counts. `isBad` where somebody should look. */
function figure(name, value, href, isBad = false) {
  const shown = el(`span.value${isBad ? ".bad" : ""}`, null, value);
  return el("div.figure", null, el("dt", null, name), el("dd", null, href ? to(href, shown) : shown));
}

const figures = (...shown) => el("dl.figures", null, shown);
const count = (number) => new Intl.NumberFormat("en").format(number);
const share = (part) => (part == null ? "—" : `${(part * 100).toFixed(part > 0.99 && part < 1 ? 2 : 1)} %`);

function firing(alerts) {
  if (alerts.length === 0) return el("p", null, badge("none", "good"), " No alert is firing.");
  const line = ({ alert, severity, summary, startsAt }) =>
    el("li", null, badge(severity), " ", to("/console/alerts", el("strong", null, alert)), " ", summary, " ", el("span.quiet", null, "since ", when(startsAt)));
  return el("ul.lines", null, alerts.map(line));
}

function drawn(trends, page) {
  const way = (range) => el("a", { href: `/console?range=${encodeURIComponent(range)}`, "aria-current": range === rangeOf(page) ? "true" : null }, range);
  const one = ({ metric, unit, points }) => {
    const [title, group] = TRENDS[metric];
    const href = `/console/charts?of=${group}&range=${encodeURIComponent(rangeOf(page))}`;
    return chart({ id: `trend-${metric}`, title, points, write: writer(unit), href, height: TREND_HEIGHT });
  };
  return [el("nav.ranges", { "aria-label": "Range" }, ["24 hours", "30 days"].map(way)), el("div.charts.small", null, trends.map(one))];
}

function checks({ status, checks }) {
  const amiss = checks.filter((check) => check.status !== "ok");
  const line = (check) =>
    el("li", null, badge(check.status), " ", el("strong", null, check.name), " ", check.detail, " ", el("span.quiet", null, "since ", when(check.since)));
  return el(
    "div",
    null,
    el("p.verdict", null, badge(status), " ", amiss.length === 0 ? `All ${checks.length} checks are in order.` : `${amiss.length} of ${checks.length} checks are not in order.`),
    el("ul.lines", null, amiss.map(line)),
    el("details", { id: "checks-all" }, el("summary", null, "All checks"), el("ul.lines", null, checks.map(line))),
  );
}

const ofEvents = (of) =>
  figures(
    figure("Received", count(of.received), "/console/events"),
    figure("Processed", count(of.processed), "/console/events?status=processed"),
    figure("Wait for a retry", count(of.failed), "/console/events?status=failed", of.failed > 0),
    figure("Dead letters", count(of.deadLettered), "/console/events?status=dead_lettered", of.deadLettered > 0),
    figure("Ignored", count(of.ignored), "/console/events?status=ignored"),
    figure("Oldest that waits", span(of.oldestFailedSeconds), "/console/events?status=failed", of.oldestFailedSeconds > 1800),
    figure("Lag, median", ms(of.lagP50Ms)),
    figure("Lag, 95 %", ms(of.lagP95Ms)),
  );

const ofApps = (desktop, letters, stats) =>
  figures(
    figure("Told", count(desktop.made)),
    figure("Acknowledged", count(desktop.acknowledged)),
    figure("Failed at", count(desktop.failed), "/console/dead-letters?source=desktop", desktop.failed > 0),
    figure("Owed a word", count(desktop.unacknowledged), "/console/dead-letters?source=delivery", desktop.unacknowledged > 0),
    figure("Share of those", share(desktop.ackRate)),
    figure("Open dead letters", count(letters.open), "/console/dead-letters?status=open", letters.open > 0),
    figure("Machines in seats", count(stats.machines), "/console/licenses"),
    figure("Connected now", count(stats.connected)),
  );

const ofMoney = (stats) =>
  figures(
    figure("Paid, 24 hours", sums(stats.paid24h, money)),
    figure("Paid, 30 days", sums(stats.paid30d, money)),
    figure("Each month", sums(stats.mrr, money), "/console/customers?status=active"),
    figure("Payments, 24 hours", count(stats.payments24h.succeeded)),
    figure("Failed, 24 hours", count(stats.payments24h.failed), "/console/events?type=invoice.payment_failed", stats.payments24h.failed > 0),
    figure("Overdue", count(stats.subscriptions.past_due ?? 0), "/console/customers?status=past_due"),
    figure("In grace", count(stats.inGrace), "/console/pods", stats.inGrace > 0),
    figure("Paid after a failure", share(stats.retrySuccessRate)),
  );

function ofRelays(relays) {
  if (relays.length === 0) return nothing("No relay is known here: RELAY_ADMIN_URLS names their private listeners.");
  return table({
    label: "Relays",
    rows: relays,
    key: (relay) => relay.url,
    columns: [
      { name: "Relay", of: (relay) => relay.relay ?? relay.url },
      { name: "State", of: (relay) => (relay.reachable ? badge(relay.canAppend === false ? "cannot append" : "ok", relay.canAppend === false ? "bad" : "good") : badge("silent", "bad")) },
      { name: "Unconfirmed", kind: "num", of: (relay) => (relay.unconfirmed == null ? "—" : count(relay.unconfirmed)) },
      { name: "Oldest of those", kind: "num", of: (relay) => span(relay.oldestUnconfirmedSeconds) },
      { name: "Journal", kind: "num", of: (relay) => bytes(relay.journalBytes) },
    ],
  });
}

function bytes(number) {
  if (number == null) return "—";
  const index = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), 4);
  return `${(number / 1024 ** index).toFixed(index === 0 ? 0 : 1)} ${["B", "KiB", "MiB", "GiB", "TiB"][index]}`;
}

function ofCustomers(stats) {
  const by = (numbers, href) =>
    Object.entries(numbers).map(([name, number]) => figure(words(name), count(number), href && href(encodeURIComponent(name))));
  return el(
    "div",
    null,
    figures(figure("Customers", count(stats.customers), "/console/customers"), by(stats.tiers, (tier) => `/console/customers?tier=${tier}`)),
    el("h3", null, "Subscriptions"),
    figures(by(stats.subscriptions, (status) => `/console/customers?status=${status}`)),
    el("h3", null, "Licences"),
    figures(by(stats.licenses, (status) => `/console/licenses?status=${status}`)),
  );
}
