// Versions of the app, and who is offered which.
import { get } from "./api.js";
import { asked, listed } from "./list.js";
import { badge, code } from "./object.js";
import { when } from "./time.js";

export const load = ({ query }) => get("/api/admin/releases", asked(query, []));

export const parts = (answer, page) => [
  listed(answer, page, {
    label: "Releases",
    key: (release) => release.id,
    href: (release) => `/console/releases/${encodeURIComponent(release.id)}`,
    empty: "Nothing was released yet: tollgate-backend release publish does it.",
    columns: [
      { name: "Version", of: (release) => release.version },
      { name: "Status", of: (release) => badge(release.status) },
      { name: "Channel", of: (release) => release.channel },
      { name: "Offered to", kind: "num", of: (release) => `${release.rolloutPercent} %` },
      { name: "For", of: (release) => [...release.tiers, release.feature].filter(Boolean).join(", ") || "all" },
      { name: "Files", kind: "num", of: (release) => release.files.length },
      { name: "Published", kind: "time", of: (release) => when(release.publishedAt) },
      { name: "Id", kind: "id", of: (release) => code(release.id) },
    ],
  }),
];
