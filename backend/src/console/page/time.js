// How times are written: in the viewer's zone, with UTC beside, since that is what logs are in.
import { el } from "./dom.js";

const DAY_MS = 86_400_000;
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const two = (number) => String(number).padStart(2, "0");

const local = (at) => parts(at.getFullYear(), at.getMonth(), at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds());
const utc = (at) =>
  parts(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds());

function parts(year, month, day, hours, minutes, seconds) {
  const isThisYear = year === new Date().getFullYear();
  return { day: `${day} ${MONTHS[month]}${isThisYear ? "" : ` ${year}`}`, time: `${two(hours)}:${two(minutes)}:${two(seconds)}` };
}

/** A moment, as an element; `none` where there is none. */
export function when(iso, none = "—") {
  const at = new Date(iso ?? NaN);
  if (Number.isNaN(at.getTime())) return el("span.quiet", null, none);
  const [here, there] = [local(at), utc(at)];
  const isSame = at.getTimezoneOffset() === 0;
  const beside = here.day === there.day ? there.time : `${there.day} ${there.time}`;
  return el(
    "time",
    { datetime: iso, title: iso },
    `${here.day} ${here.time}`,
    el("span.utc", null, isSame ? " UTC" : ` ${beside} UTC`),
  );
}

/** How long something lasts, in its two largest units. */
export function span(seconds) {
  if (seconds == null) return "—";
  const units = [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [[name, size], next] = [units[first], units[first + 1]];
  const rest = next && Math.floor((seconds % size) / next[1]);
  return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${next[0]}` : ""}`;
}

/** How old something is. */
export const age = (iso, now = Date.now()) => (iso == null ? "—" : span(Math.max(0, (now - Date.parse(iso)) / 1000)));

/** Milliseconds, for a person. */
export function ms(number) {
  if (number == null) return "—";
  return number < 1000 ? `${Math.round(number)} ms` : number < 60_000 ? `${(number / 1000).toFixed(1)} s` : span(number / 1000);
}

/** How long after `before` something was, with its sign: clocks of several machines are never quite the same. */
export function gap(before, after) {
  const apart = Date.parse(after) - Date.parse(before);
  return Number.isNaN(apart) ? "" : `${apart < 0 ? "−" : "+"}${ms(Math.abs(apart))}`;
}

/** What a field for a local time holds, as RFC 3339; null where that is nothing. */
export function ofField(text) {
  const at = new Date(text || NaN);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

/** What such a field is given to show a moment. */
export function toField(iso) {
  const at = new Date(iso ?? NaN);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** So many days ago, to the minute. */
export const daysAgo = (days) => new Date(Math.floor((Date.now() - days * DAY_MS) / 60_000) * 60_000).toISOString();
