// Who looks at the account page, and at mails: Chromium with a session that Auth.js itself made, and an eye for what is wrong.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { encode } from "@auth/core/jwt";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const COOKIE = "authjs.session-token";

/** The two kinds of visit that everything has to look well in. */
export const KINDS = [
  { scheme: "light", width: 1100 },
  { scheme: "dark", width: 360 },
];

/** Prints a JSON value for the test that runs this program. */
export const tell = (value) => console.log(JSON.stringify(value));

// Debian's. The package brings none, and fetches none.
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM });

/** Ends the browser, so that the program ends. */
export const close = () => browser.close();

/** A page of somebody who is signed in at the company's application, or of nobody. */
export async function visitor({ base, secret, user, scheme = "light", width = 1100 }) {
  const context = await browser.newContext({ baseURL: base, colorScheme: scheme, viewport: { width, height: 800 } });
  if (user) {
    const token = { sub: user, name: "Ada", email: `${user}@example.com` };
    const value = await encode({ token, secret, salt: COOKIE });
    await context.addCookies([{ name: COOKIE, value, url: base, httpOnly: true, sameSite: "Lax" }]);
  }
  const page = await context.newPage();
  page.faults = [];
  await page.exposeFunction("fault", (text) => page.faults.push(text));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      fault(`${event.violatedDirective} refused ${event.blockedURI}`));
  });
  page.on("pageerror", (error) => page.faults.push(error.message));
  return page;
}

/** What is wrong with the page as it stands; a picture of it goes to the folder `pictures`, if there is one. `rules` are axe's,
 * which takes a while: null does without it. */
export async function judge(page, name, pictures, rules = {}) {
  const faults = page.faults.splice(0);
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (excess > 0) faults.push(`it is ${excess} pixels too wide`);
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  if (!rules) return faults;
  await page.evaluate(axe);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run({ rules }), rules);
  const where = ({ nodes }) => nodes.map((node) => node.target.join(" ")).join(", ");
  faults.push(...violations.map((violation) => `${violation.id}: ${violation.help}: ${where(violation)}`));
  // What axe itself does is nobody's fault.
  page.faults.length = 0;
  return faults;
}

/** Waits until the page shows what is had, and that it is called so. */
export const shows = (page, badge) => page.locator(".badge", { hasText: badge }).waitFor();
