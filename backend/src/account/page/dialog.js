// Questions that are asked before something is done.
import { button, el } from "./dom.js";

let number = 0;

/** Opens a dialog; gives it, with `fail`, which says in it what went wrong. It is gone when it is closed. */
export function open(title, content, buttons) {
  const id = `dialog-${++number}`;
  const failure = el("div.failure", { role: "alert" });
  const body = el("div", null, content);
  const dialog = el("dialog", { "aria-labelledby": id }, el("h2", { id }, title), body, failure);
  dialog.append(el("div.buttons", null, buttons, button("Close", () => dialog.close())));
  const opener = document.activeElement;
  const section = opener.closest("section")?.id;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (document.activeElement === document.body) focusAgain(opener, section);
  });
  document.body.append(dialog);
  dialog.showModal();
  const fail = (...said) => failure.replaceChildren(...said);
  return { dialog, body, fail };
}

/** What a dialog was opened from may have been shown anew meanwhile, or be gone. */
function focusAgain(opener, section) {
  const again = opener.id && document.getElementById(opener.id);
  (again || document.getElementById(section)?.querySelector("h2") || document.querySelector("h2"))?.focus();
}

/**
 * Asks, and does `act` when that is confirmed. What goes wrong is said in the dialog, by `explain` where that knows more.
 */
export function confirm({ title, content, confirm: text, kind = "main", act, explain }) {
  const done = async () => {
    opened.fail();
    try {
      await act();
      opened.dialog.close();
    } catch (error) {
      opened.fail(...(explain?.(error, opened.dialog) ?? [error.text ?? String(error)]));
    }
  };
  const opened = open(title, content, [button(text, done, { kind })]);
  return opened;
}
