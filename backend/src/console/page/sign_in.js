// Signing in: by a link of the command line, by the operators' key, or by a token of an admin's.
import { post, remove } from "./api.js";
import { button, el } from "./dom.js";

/** The token of the link that was followed, if one was. From here on it is neither in the address nor in the history. */
export function takeLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("link");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Asks whether to sign in by this link: what opens links by itself uses none up. */
export function offer(token, signedIn) {
  const failure = el("p.failure", { role: "alert" });
  const exchange = async () => {
    failure.textContent = "";
    await post("/console/session", { link: token }).then(signedIn, (error) => (failure.textContent = error.text));
  };
  return [
    el("h1", { tabindex: "-1" }, "Sign in"),
    el("p", null, "This link signs you in at the console of this deployment, once."),
    failure,
    el("div.buttons", null, button("Continue", exchange, { kind: "main", id: "continue" })),
  ];
}

/** What whoever is not signed in sees. */
export function form(signedIn) {
  const key = el("input", { id: "sign-in-key", type: "password", autocomplete: "off", required: true });
  const name = el("input", { id: "sign-in-name", type: "text", maxlength: 64, autocomplete: "username" });
  const failure = el("p.failure", { role: "alert" });
  const form = el(
    "form.sign-in",
    null,
    el("p.field", null, el("label", { for: key.id }, "ADMIN_API_KEY, or a token of an admin's"), key),
    el("p.field", null, el("label", { for: name.id }, "Your name, for the audit trail"), name),
    failure,
    el("div.buttons", null, el("button.main", { type: "submit" }, "Sign in")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    failure.textContent = "";
    const shown = key.value.trim();
    // A token says by itself whose it is, and has its parts.
    const isToken = /^[\w-]+(\.[\w-]*){2,4}$/.test(shown);
    const body = isToken ? { token: shown } : { key: shown, name: name.value };
    post("/console/session", body).then(signedIn, (error) => (failure.textContent = error.text));
  });
  return [
    el("h1", { tabindex: "-1" }, "Sign in"),
    form,
    el("p.quiet", null, "Or run ", el("code", null, "tollgate-backend console-link"), " and open what it prints, within five minutes."),
  ];
}

export const signOut = () => remove("/console/session");
