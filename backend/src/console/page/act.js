// What an operator does: each act says what it will do, asks why, and when it fails by which request.
import { button, el } from "./dom.js";

let number = 0;

/** Opens a dialog with this content; it is gone when it is closed, and the focus is where it was. */
export function dialog(title, ...content) {
  const id = `dialog-${++number}`;
  const opener = document.activeElement;
  const element = el("dialog", { "aria-labelledby": id }, el("h2", { id }, title), content);
  element.addEventListener("close", () => {
    element.remove();
    if (document.activeElement !== document.body) return;
    const again = opener?.id && document.getElementById(opener.id);
    (again || document.querySelector("main h1"))?.focus();
  });
  document.body.append(element);
  element.showModal();
  return element;
}

/** A field of an act: `{name, label, type | options, required, value, hint}`. */
function field({ name, label, type = "text", options, required = false, value = "", hint, ...rest }) {
  const id = `act-${name}`;
  if (type === "checkbox") {
    const box = el("input", { id, name, type, "aria-describedby": hint && `${id}-hint` });
    return el("p.choice", null, el("label", { for: id }, box, label), hint && el("small", { id: `${id}-hint` }, hint));
  }
  const described = { id, name, required, "aria-describedby": hint && `${id}-hint`, autocomplete: "off", ...rest };
  const choices = options?.map((one) => el("option", { value: one, selected: one === value }, one));
  const input = options
    ? el("select", described, choices)
    : el(type === "long" ? "textarea" : "input", type === "long" ? { rows: 3, ...described } : { type, ...described });
  if (!options) input.value = value;
  return el("p.field", null, el("label", { for: id }, label), input, hint && el("small", { id: `${id}-hint` }, hint));
}

/** The field in which somebody says why; it goes to the audit trail. */
const REASON = { name: "reason", label: "Why", type: "long", required: true, maxlength: 1000, hint: "Kept in the audit trail, for good." };

/**
 * Asks, and does `run(values)` when that is confirmed. `says` are sentences of what it will do; `fields` are asked before the
 * reason; `reason: false` asks for none; `typed` is a text that has to be typed first. Then `done(result)` is told.
 */
export function ask({ title, says, fields = [], reason = true, typed, confirm, kind = "main", run, done }) {
  const asked = [...fields, ...(reason ? [REASON] : []), ...(typed ? [typing(typed)] : [])];
  const failure = el("p.failure", { role: "alert" });
  const press = el(`button.${kind}`, { type: "submit" }, confirm);
  const form = el(
    "form",
    null,
    [says].flat().map((sentence) => (typeof sentence === "string" ? el("p", null, sentence) : sentence)),
    asked.map(field),
    failure,
    el("div.buttons", null, press, button("Cancel", () => opened.close())),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (press.getAttribute("aria-disabled") === "true") return;
    failure.textContent = "";
    press.setAttribute("aria-disabled", "true");
    try {
      const result = await run(values(form, asked));
      opened.close();
      await done?.(result);
    } catch (error) {
      failure.textContent = error.text ?? String(error);
    } finally {
      press.removeAttribute("aria-disabled");
    }
  });
  // A paragraph is written with Enter, and sent with Ctrl.
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  const opened = dialog(title, form);
  (form.querySelector("input, textarea, select") ?? press).focus();
  return opened;
}

function typing(text) {
  const pattern = text.replace(/[^0-9A-Za-z]/g, "\\$&");
  return { name: "typed", label: `Type ${text} to go on`, required: true, pattern, title: text };
}

function values(form, fields) {
  return Object.fromEntries(
    fields.map(({ name, type }) => {
      const input = form.elements[name];
      return [name, type === "checkbox" ? input.checked : type === "number" ? Number(input.value) : input.value.trim()];
    }),
  );
}
