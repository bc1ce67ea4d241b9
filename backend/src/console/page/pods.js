// Pods: groups that save together.
import { get } from "./api.js";
import { money, words } from "./format.js";
import { asked, listed } from "./list.js";
import { badge, code } from "./object.js";
import { when } from "./time.js";

export const load = ({ query }) => get("/api/admin/pods", asked(query, []));

export const parts = (answer, page) => [
  listed(answer, page, {
    label: "Pods",
    key: (pod) => pod.id,
    href: (pod) => `/console/pods/${encodeURIComponent(pod.id)}`,
    empty: "There is no pod.",
    columns: [
      { name: "Pod", of: (pod) => pod.name },
      { name: "Status", of: (pod) => badge(pod.status) },
      { name: "Members", kind: "num", of: (pod) => `${pod.memberCount} of ${pod.maxMembers}` },
      { name: "Each pays", kind: "num", of: (pod) => `${money(pod.amount, pod.currency)} ${words(pod.cadence)}` },
      { name: "Paid in", kind: "num", of: (pod) => money(pod.totalContributed, pod.currency) },
      { name: "Paid out", kind: "num", of: (pod) => money(pod.totalPaidOut, pod.currency) },
      { name: "Next", kind: "time", of: (pod) => when(pod.nextContributionDate) },
      { name: "Id", kind: "id", of: (pod) => code(pod.id) },
    ],
  }),
];
