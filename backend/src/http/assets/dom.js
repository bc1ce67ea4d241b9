// Elements. Whatever is shown is set as text: nothing that comes from outside ever becomes HTML.

/** Makes an element: `name` is its tag, with classes after dots; `on…` attributes are listeners; null children are left out. */
export function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter(isThere));
  return element;
}

/** What is left out is null, or what `&&` makes of it. */
const isThere = (child) => child != null && child !== false;

/** A button that does `act`, and cannot be pressed again until that is done. It keeps the focus meanwhile. */
export function button(text, act, { kind = "plain", ...attributes } = {}) {
  const pressed = async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    element.setAttribute("aria-disabled", "true");
    try {
      await act(element);
    } finally {
      element.removeAttribute("aria-disabled");
    }
  };
  const element = el(`button.${kind}`, { type: "button", ...attributes, onclick: pressed }, text);
  return element;
}

/** A link to a page of somebody else's; the text alone where the address is none of the web. */
export function link(text, address, attributes) {
  const isOfTheWeb = /^https?:\/\//i.test(address ?? "");
  return isOfTheWeb ? el("a", { href: address, rel: "noopener noreferrer", ...attributes }, text) : text;
}

/** Names and values, one below the other; those without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value != null);
  return el("dl", null, shown.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))));
}

/**
 * Puts `children` into `parent` in place of what is there. The focus stays where it was, as far as that is still there, and what
 * was unfolded stays so.
 */
export function replace(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const unfolded = [...parent.querySelectorAll("details[open][id]")].map((details) => details.id);
  parent.replaceChildren(...children.flat(Infinity).filter(isThere));
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (focused === null) return;
  const again = focused.id && document.getElementById(focused.id);
  (again || parent.querySelector("h2"))?.focus();
}

/** The heading of a section, to which the focus goes when what had it is gone. */
export function heading(text, id) {
  return el("h2", { id, tabindex: "-1" }, text);
}
