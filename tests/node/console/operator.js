// An operator at the console, with a keyboard and nothing else.
import assert from "node:assert/strict";
import { judge as look, visitor } from "../account/visitor.js";

export { close, tell } from "../account/visitor.js";

/** How many elements a page may have that the focus goes through. */
const STOPS_MAX = 300;

/** The kinds of visit that every page has to look well in; pictures of more of them are for people. */
export const KINDS = [
  { scheme: "light", width: 1280 },
  { scheme: "dark", width: 360 },
];
export const MORE_KINDS = [
  { scheme: "dark", width: 1280 },
  { scheme: "light", width: 360 },
];

/** A browser at the console, of nobody yet. What runs `hostile()` is at fault. */
export async function operator({ base, ...kind }) {
  const page = await visitor({ base, ...kind });
  await page.exposeFunction("hostile", () => page.faults.push("text from outside was run"));
  page.on("dialog", (dialog) => {
    page.faults.push(`a script says ${dialog.message()}`);
    return dialog.dismiss();
  });
  return page;
}

/** What is wrong with the page as it stands. */
export const judge = look;

/** Waits until the page is there with what it loads. */
export const loaded = (page) => page.locator('main[aria-busy="false"]').waitFor();

/** What has the focus is called so. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const label = element.labels?.[0]?.textContent;
    return `${element.getAttribute("aria-label") ?? label ?? element.textContent}`.trim();
  });

/** Goes on with Tab until what has the focus has this name. */
export async function tabTo(page, name) {
  const is = (text) => (name instanceof RegExp ? name.test(text) : text === name);
  const passed = [];
  for (let stop = 0; stop < STOPS_MAX; stop += 1) {
    const text = await focused(page);
    if (is(text)) return;
    passed.push(text.slice(0, 30));
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab never leads to ${name}, but to ${[...new Set(passed)].join(" | ")}`);
}

/** Presses what has this name. */
export async function press(page, name) {
  await tabTo(page, name);
  await page.keyboard.press("Enter");
}

/** Walks down the list until the row with this text has the focus. */
export async function walkTo(page, text) {
  for (let row = 0; row < STOPS_MAX; row += 1) {
    await page.keyboard.press("j");
    const here = await page.evaluate(() => document.activeElement.closest("tr")?.textContent ?? "");
    if (here.includes(text)) return;
  }
  assert.fail(`no row has ${text}`);
}

/** Goes to a page by its letter. */
export async function goTo(page, letter, title) {
  await page.keyboard.press("g");
  await page.keyboard.press(letter);
  await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
  await loaded(page);
}

/** Waits for a text that is seen. */
export const sees = (page, text) => page.getByText(text).first().waitFor();

/** What was said once an act was done. */
export const isSaid = (page, text) => page.locator("#said").getByText(text).waitFor();
