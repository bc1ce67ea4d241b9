// The machines that hold seats of a licence.
import { ask } from "./act.js";
import { at, remove } from "./api.js";
import { button } from "./dom.js";
import { sublist } from "./list.js";
import { badge, code } from "./object.js";
import { when } from "./time.js";

/** A part with them, in which each can be freed. */
export const machines = (list, licenseId, page) =>
  sublist("machines", "Machines", list, {
    key: (machine) => machine.id,
    empty: "No machine holds a seat.",
    columns: [
      { name: "Machine", of: (machine) => machine.name ?? machine.id },
      { name: "State", of: (machine) => (machine.stale ? badge("stale", "warn") : badge("in use", "good")) },
      { name: "Platform", of: (machine) => machine.platform ?? "—" },
      { name: "Version", of: (machine) => machine.appVersion ?? "—" },
      { name: "Last seen", kind: "time", of: (machine) => when(machine.lastSeenAt) },
      { name: "Id", kind: "id", of: (machine) => code(machine.id) },
    ],
    act: licenseId && ((machine) => button("Free…", () => free(machine, licenseId, page), { id: `free-${machine.id}`, "aria-label": `Free the seat of ${machine.name ?? machine.id}` })),
  });

function free({ id, name }, licenseId, page) {
  ask({
    title: "Free the seat",
    says: `The seat of ${name ?? id} can then be taken by another machine. The app on it is told at once, and asks to be activated again.`,
    confirm: "Free the seat",
    run: ({ reason }) => remove(at("/api/admin/licenses", licenseId, "machines", id), { reason }),
    done: () => page.changed("The seat is free."),
  });
}
