// How it went: numbers by the hour or the day.
import { get } from "./api.js";
import { chart } from "./chart.js";
import { el } from "./dom.js";
import { money } from "./format.js";
import { filters } from "./list.js";
import { part } from "./object.js";
import { daysAgo, ms } from "./time.js";

const GROUPS = {
  events: { events: "Events", events_failed: "Events that failed", event_lag_p95_ms: "Lag, 95 %", dead_letters: "Dead letters" },
  service: { response_avg_ms: "Answers, mean", response_p95_ms: "Answers, 95 %", streams: "Streams", ack_rate: "Acknowledged, share" },
  money: { revenue: "Revenue", mrr: "A month, recurring", payments_succeeded: "Payments", payments_failed: "Failed payments", retry_success_rate: "Paid after a failure, share" },
  customers: {
    subscriptions_active: "Active subscriptions",
    subscriptions_started: "Begun",
    subscriptions_ended: "Ended",
    memberships_in_grace: "Memberships in grace",
    messages_failed: "Messages that failed",
  },
};

/** Days back, and the step of the points: a thousand of them at most. */
export const RANGES = { "24 hours": [1, "hour"], "7 days": [7, "hour"], "30 days": [30, "day"], "a year": [365, "day"] };

const FIELDS = [
  { name: "of", label: "Of", options: Object.keys(GROUPS) },
  { name: "range", label: "Range", options: Object.keys(RANGES) },
];

const group = (query) => GROUPS[query.get("of")] ?? GROUPS.events;

export async function load({ query }) {
  const [days, step] = RANGES[query.get("range")] ?? RANGES["24 hours"];
  const to = daysAgo(0);
  return Promise.all(Object.keys(group(query)).map((metric) => get("/api/analytics/trends", { metric, step, from: daysAgo(days), to })));
}

/** How a value is written: by its unit, and money by its currency. */
export function writer(unit) {
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  return (value, name) => {
    if (value == null) return "—";
    if (unit === "ms") return ms(value);
    if (unit === "ratio") return `${number.format(value * 100)} %`;
    return unit === "minor" && name ? money(Math.round(value), name) : number.format(value);
  };
}

export const parts = (trends, page) => [
  filters(FIELDS, page),
  part("charts", trends, () => [
    el("div.charts", null, trends.map((trend) => {
      const title = group(page.query)[trend.metric] ?? trend.metric;
      return chart({ id: `chart-${trend.metric}`, title, points: trend.points, write: writer(trend.unit) });
    })),
  ]),
];
