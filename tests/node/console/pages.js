// `node pages.js JSON`: looks at every page of the console, wide and light as well as narrow and dark, with hostile text in every
// field; then tries from other origins what the cookie is good for. Prints what is wrong with each.
import { createServer } from "node:http";
import { KINDS, MORE_KINDS, close, judge, loaded, operator, tell } from "./operator.js";

const { base, key, pictures, pages, letter } = JSON.parse(process.argv[2]);

async function signsIn(kind) {
  const page = await operator({ base, ...kind });
  await page.goto("/console");
  await page.getByLabel("ADMIN_API_KEY").fill(key);
  await page.getByLabel("Your name").fill(`<img src=x onerror="hostile()">`);
  const name = `${kind.scheme}-${kind.width}`;
  tell({ page: "sign-in", ...kind, faults: await judge(page, `console-sign-in-${name}`, pictures) });
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  return page;
}

async function sees(page, { name, path, opens, press = [] }, kind) {
  await page.goto(path);
  await page.locator(`#nav a[aria-current]`).first().waitFor({ state: "attached" });
  await loaded(page);
  if (opens) await page.keyboard.press(opens);
  for (const one of press) await page.getByRole("button", { name: one }).first().click();
  // Whatever is loaded by then.
  await page.waitForLoadState("networkidle");
  tell({ page: name, ...kind, faults: await judge(page, `console-${name}-${kind.scheme}-${kind.width}`, pictures) });
}

/** A page of another origin on `host`, which tries all that a page can with a browser's cookie. */
async function attacks(context, host) {
  const server = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><title>Another</title>"));
  await new Promise((resolve) => server.listen(0, host, resolve));
  const page = await context.newPage();
  await page.goto(`http://${host}:${server.address().port}/`);
  await page.evaluate(
    async ({ base, letter }) => {
      const resolve = `${base}/api/dlq/resolve/${letter}`;
      const body = JSON.stringify({ note: "not by an operator" });
      const call = (url, options) => fetch(url, { credentials: "include", ...options }).catch(() => null);
      await call(resolve, { method: "POST", mode: "no-cors", body });
      await call(resolve, { method: "POST", mode: "no-cors" });
      await call(resolve, { method: "POST", mode: "no-cors", body: new Blob([body], { type: "text/plain" }) });
      await call(resolve, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      await call(`${base}/console/session`, { method: "DELETE" });
      navigator.sendBeacon(resolve, new Blob([body], { type: "text/plain" }));
      const form = Object.assign(document.createElement("form"), { method: "post", action: resolve, enctype: "text/plain" });
      form.append(Object.assign(document.createElement("input"), { name: '{"note":"', value: '"}' }));
      document.body.append(form);
      form.submit();
    },
    { base, letter },
  );
  await page.waitForLoadState("networkidle");
  await page.close();
  server.close();
}

for (const kind of [...KINDS, ...(pictures ? MORE_KINDS : [])]) {
  const page = await signsIn(kind);
  for (const one of pages) await sees(page, one, kind);
  if (kind === KINDS[0]) {
    // The same site and another.
    for (const host of ["127.0.0.1", "localhost"]) await attacks(page.context(), host);
    await page.goto("/console");
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  }
  await page.context().close();
}
await close();
tell({ page: null });
