// A chart: drawn, told as it is pointed at, and as a table too.
import { el } from "./dom.js";
import { folded } from "./object.js";
import { when } from "./time.js";
import uPlot from "./uPlot.esm.js";

/** How high a chart is where nothing else is said. */
const HEIGHT = 180;

/** Lines beyond these would not be told apart. */
const LINES_MAX = 6;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The lines of points: one of their values, or one for each of what they are made of. */
export function lines(points) {
  const names = [...new Set(points.flatMap(({ by }) => Object.keys(by ?? {})))].slice(0, LINES_MAX);
  if (names.length === 0) return [{ name: null, values: points.map(({ value }) => value) }];
  return names.map((name) => ({ name, values: points.map(({ by }) => by?.[name] ?? 0) }));
}

/** A chart of `points`, `{at, value, by}`; `write` writes a value of the line with a name. The title may lead somewhere. */
export function chart({ id, title, points, write, href, height = HEIGHT }) {
  const shown = lines(points);
  const told = el("p.told", { "aria-hidden": "true" }, " ");
  const place = el("div.chart", { role: "img", "aria-label": `${title}: ${summary(points, shown, write)}` });
  const tell = (index) => {
    const point = index == null ? points.at(-1) : points[index];
    const values = shown.map(({ name, values }) => `${shown.length > 1 ? `${name} ` : ""}${write(values[points.indexOf(point)], name)}`);
    told.replaceChildren(...(point ? [when(point.at), `  ${values.join(" · ")}`] : [" "]));
  };
  tell(null);
  let plot = null;
  const draw = () => {
    plot?.destroy();
    plot = new uPlot(options({ width: place.clientWidth, height }, shown, write, tell), [points.map(({ at }) => Date.parse(at) / 1000), ...shown.map(({ values }) => values)], place);
  };
  new ResizeObserver(() => place.clientWidth > 0 && (plot === null ? draw() : plot.setSize({ width: place.clientWidth, height }))).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => place.isConnected && draw());
  return el("figure", null, el("figcaption", null, el("h2", null, href ? el("a", { href }, title) : title), told), place, folded(`${id}-table`, "As a table", table(title, points, shown, write)));
}

function options(size, shown, write, tell) {
  const [line, quiet] = [style("--line"), style("--quiet")];
  const colours = ["--main", "--good", "--warn", "--bad", "--quiet", "--text"].map(style);
  // As times are written everywhere else here.
  const clock = (_, ticks, __, ___, step) => ticks.map((tick) => clockTime(tick, step));
  const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui, sans-serif" };
  return {
    ...size,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    series: [{}, ...shown.map((_, index) => ({ stroke: colours[index], width: 1.5, fill: shown.length === 1 ? `${colours[index]}1f` : undefined }))],
    axes: [{ ...axis, values: clock }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => write(tick, shown[0].name)) }],
    hooks: { setCursor: [({ cursor }) => tell(cursor.idx)] },
  };
}

function clockTime(tick, step) {
  const at = new Date(tick * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return step >= 86_400 ? at.toLocaleDateString("en-GB", { day: "numeric", month: "short" }) : `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** What a chart says to whoever does not see it. */
function summary(points, shown, write) {
  if (points.length === 0) return "nothing yet";
  const line = ({ name, values }) => `${name ?? ""} ${write(values.at(-1), name)} at the end, ${write(Math.max(...values), name)} at most`.trim();
  return shown.map(line).join("; ");
}

function table(title, points, shown, write) {
  const head = ["When", ...shown.map(({ name }) => name ?? "Value")].map((name) => el("th", { scope: "col" }, name));
  const rows = points.map((point, index) =>
    el("tr", null, el("td", null, when(point.at)), shown.map(({ name, values }) => el("td.num", null, write(values[index], name)))),
  );
  return el("div.scroll.short", { tabindex: "0", role: "group", "aria-label": `${title}, as a table` }, el("table.fields", null, el("thead", null, el("tr", null, head)), el("tbody", null, rows.reverse())));
}
