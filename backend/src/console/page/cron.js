// The timetable: when each job ran, what came of it, and to run it now.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { button, el } from "./dom.js";
import { table } from "./list.js";
import { badge, part } from "./object.js";
import { ms, when } from "./time.js";

export const load = () => get("/api/admin/cron");

export const parts = ({ data }, page) => [
  part("jobs", data.map(({ nextAt, ...job }) => job), () => [
    table({
      label: "Jobs",
      rows: data,
      key: (job) => job.job,
      columns: [
        { name: "Job", of: (job) => el("strong", null, job.job) },
        { name: "State", of: (job) => (job.late ? badge("late", "bad") : badge(job.lastOutcome ?? "never ran", job.lastOutcome === "failed" ? "bad" : undefined)) },
        { name: "Schedule", of: (job) => job.schedule },
        { name: "Last run", kind: "time", of: (job) => when(job.lastRunAt, "never") },
        { name: "Took", kind: "num", of: (job) => ms(job.durationMs) },
        { name: "Next", kind: "time", of: (job) => when(job.nextAt) },
        { name: "What it did", of: (job) => summary(job.summary) },
      ],
      act: (job) => button("Run now…", () => runNow(job, page), { id: `run-${job.job}`, "aria-label": `Run now… ${job.job}` }),
    }),
  ]),
];

/** What a run counted; what is 0 says nothing. */
function summary(counts) {
  const told = Object.entries(counts ?? {}).filter(([, value]) => value !== 0 && value !== null && value !== false);
  return told.length === 0 ? el("span.quiet", null, "nothing to do") : told.map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}

function runNow({ job }, page) {
  ask({
    title: `Run ${job} now`,
    says: "It does what it does at its time: what is due, and nothing twice. Where it is running already, that run goes on and nothing is begun.",
    confirm: "Run now",
    run: ({ reason }) => post(`${at("/api/admin/cron", job)}/run`, { reason }),
    done: ({ ran }) => page.changed(ran ? `${job} has run.` : `${job} was running already.`),
  });
}
