// The pages of the console, with the letter that leads to each after `g`.
import * as alerts from "./alerts.js";
import * as audit from "./audit.js";
import * as charts from "./charts.js";
import * as cron from "./cron.js";
import * as customer from "./customer.js";
import * as customers from "./customers.js";
import * as deadLetters from "./dead_letters.js";
import * as event from "./event.js";
import * as events from "./events.js";
import * as license from "./license.js";
import * as licenses from "./licenses.js";
import * as messages from "./messages.js";
import * as overview from "./overview.js";
import * as pod from "./pod.js";
import * as pods from "./pods.js";
import * as release from "./release.js";
import * as releases from "./releases.js";
import * as replay from "./replay.js";
import * as support from "./support.js";
import * as ticket from "./ticket.js";

const page = (letter, title, name, module, one) => ({ letter, title, path: name ? `/console/${name}` : "/console", module, one });

export const PAGES = [
  page("o", "Overview", "", overview),
  page("e", "Events", "events", events, event),
  page("d", "Dead letters", "dead-letters", deadLetters),
  page("r", "Replay", "replay", replay),
  page("c", "Customers", "customers", customers, customer),
  page("l", "Licences", "licenses", licenses, license),
  page("p", "Pods", "pods", pods, pod),
  page("m", "Messages", "messages", messages),
  page("s", "Support", "support", support, ticket),
  page("v", "Releases", "releases", releases, release),
  page("t", "Charts", "charts", charts),
  page("a", "Alerts", "alerts", alerts),
  page("n", "Cron", "cron", cron),
  page("u", "Audit", "audit", audit),
];

/** What an address shows. One that is none of ours shows the overview. */
export function place(pathname) {
  const [, , name = "", ...rest] = pathname.split("/");
  const found = PAGES.find(({ path }) => path === (name ? `/console/${name}` : "/console")) ?? PAGES[0];
  const id = rest.join("/");
  if (id === "" || !found.one) return { ...found, id: null, module: found.module };
  return { id: decoded(id), title: found.title, path: pathname, module: { ...found.one, under: found.path } };
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}
