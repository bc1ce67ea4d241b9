// `node mails.js FILE [PICTURES]`: opens each mail of FILE, wide and narrow, light and dark. Prints what is wrong with each.
import { readFileSync } from "node:fs";
import { close, judge, tell, visitor } from "./account/visitor.js";

const [file, pictures] = process.argv.slice(2);
const mails = JSON.parse(readFileSync(file, "utf8"));
// Around a mail there is the page of whoever shows it, which has those.
const rules = Object.fromEntries(["landmark-one-main", "region"].map((name) => [name, { enabled: false }]));

for (const width of [800, 360]) {
  for (const scheme of ["light", "dark"]) {
    const page = await visitor({ scheme, width });
    let body = "";
    await page.route("**", (route) => {
      const request = route.request();
      if (request.isNavigationRequest()) return route.fulfill({ contentType: "text/html; charset=utf-8", body });
      page.faults.push(`it fetches ${request.url()}`);
      return route.abort();
    });
    for (const [index, { name, html }] of mails.entries()) {
      body = html;
      await page.goto(`http://mail.example/${name}`);
      // They have one layout: in each scheme every other is looked at by axe.
      const isLookedAt = width === 800 && (index % 2 === 0) === (scheme === "light");
      const faults = await judge(page, `mail-${name}-${width}-${scheme}`, pictures, isLookedAt ? rules : null);
      tell({ name, width, scheme, faults });
    }
    await page.context().close();
  }
}
await close();
tell({ name: null });
