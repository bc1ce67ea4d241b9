// `node story.js JSON`: what a customer does on the account page. Each step is told once it is seen to be done; some wait for what the
// test then does.
import assert from "node:assert/strict";
import { close, judge, shows, tell, visitor } from "./visitor.js";

const { base, secret, pictures, user, link } = JSON.parse(process.argv[2]);

/** A step is told with what is wrong with the page after it. */
async function done(step, page, more = {}) {
  tell({ step, faults: await judge(page, `story-${step}`, pictures), ...more });
}

const dialog = (page) => page.getByRole("dialog");
const press = (within, name) => within.getByRole("button", { name }).click();
const plan = (page, name) => page.locator("#plan-name", { hasText: name }).waitFor();
const said = (page, text) => page.getByRole("status").getByText(text).waitFor();

async function signsInByLink() {
  const page = await visitor({ base });
  await page.goto(link);
  await page.getByText(`This link signs you in as`).waitFor();
  assert.equal(page.url(), `${base}/account`, "the token does not stay in the address");
  await done("link", page);
  await press(page, "Continue");
  await shows(page, "Ended");
  await press(page, "Sign out");
  await page.getByText("You are signed out").waitFor();
  // Back from it, and another browser: the link is spent.
  await page.goto("about:blank");
  await page.goto(link);
  await press(page, "Continue");
  await page.getByRole("alert").getByText("used before").waitFor();
  await done("spent link", page);
  await page.context().close();
}

async function buys(page) {
  await shows(page, "Ended");
  await page.locator("#offer-pro_monthly").click();
  await page.getByLabel("Card number").fill("4242 4242 4242 4242");
  const first = page.waitForResponse((response) => new URL(response.url()).pathname === "/api/subscriptions/current");
  await page.locator("#pay").click();
  const current = await (await first).json();
  await shows(page, "Active");
  await said(page, "Thank you. Your purchase is done.");
  assert.equal(page.url(), `${base}/account`);
  await done("bought", page, { current });
  // The app is started on a machine; the page is not touched.
  await page.getByText("1 of 3 machines").waitFor();
}

async function changesThePlan(page) {
  await page.locator("#offer-team_monthly").click();
  await dialog(page).getByText("To pay now").waitFor();
  await dialog(page).getByText("How that comes about").click();
  const due = await dialog(page).locator("strong").textContent();
  await done("preview", page, { due });
  await press(dialog(page), `Pay ${due} and change`);
  await plan(page, "Team, monthly");
  await said(page, "Your plan is now Team, monthly");
  await dialog(page).waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.closest("section")?.id), "plan", "the focus stays near");
  await done("changed", page);
}

/** With the keyboard alone. */
async function cancelsAndTakesItBack(page) {
  await page.locator("#cancel").focus();
  await page.keyboard.press("Enter");
  await dialog(page).waitFor();
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "cancel", "the focus is where it was");
  await page.keyboard.press("Enter");
  await done("asked", page);
  await page.keyboard.press("Tab");
  await page.keyboard.type("Too dear");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await shows(page, "Ends soon");
  await done("cancelled", page);
  await page.locator("#keep").focus();
  await page.keyboard.press("Enter");
  await shows(page, "Active");
  await done("taken back", page);
}

async function freesAMachine(page) {
  await page.getByText("1 of 10 machines").waitFor();
  await press(page, "Free the seat of Ada's <b>laptop</b>");
  await press(dialog(page), "Free the seat");
  await page.getByText("0 of 10 machines").waitFor();
  await done("freed", page);
}

async function hasKeysInHand(page) {
  await press(page, "Show tg_");
  const first = await dialog(page).locator("code").textContent();
  await done("revealed", page, { keys: [first] });
  await press(dialog(page), "Close");
  await press(page, "Show tg_");
  await page.getByRole("alert").getByText(/./).waitFor();
  await press(page, "Roll… tg_");
  await dialog(page).getByLabel("How long").selectOption("An hour");
  await press(dialog(page), "Roll the key");
  await dialog(page).getByText("Your new key").waitFor();
  const second = await dialog(page).locator("code").textContent();
  await press(dialog(page), "Close");
  await page.getByText("good until").waitFor();
  await page.locator(`#keys li`, { hasText: "made" }).getByRole("button", { name: "Revoke" }).click();
  await press(dialog(page), "Revoke the key");
  await page.getByText("over since").waitFor();
  await done("keys", page, { keys: [first, second] });
}

async function isDeclined(page) {
  await page.locator("#offer-enterprise_monthly").click();
  await press(dialog(page), /^Pay/);
  await dialog(page).getByRole("alert").getByText("Your card was declined (insufficient funds)").waitFor();
  await done("declined", page);
  await press(dialog(page), "Close");
}

/** The test stops the service, and starts it again. */
async function goesOnWithoutTheService(page) {
  tell({ step: "watching", faults: [] });
  await page.getByRole("alert").getByText("cannot be reached").waitFor();
  await done("away", page);
  await page.getByRole("alert").getByText("cannot be reached").waitFor({ state: "detached" });
  tell({ step: "back", faults: [] });
}

await signsInByLink();
const page = await visitor({ base, secret, user });
await page.goto("/account");
await buys(page);
await changesThePlan(page);
await cancelsAndTakesItBack(page);
await freesAMachine(page);
await hasKeysInHand(page);
// Stripe tells of another card and another plan; the page is not touched.
await page.getByText("ending in 9995").waitFor();
await plan(page, "Pro, monthly");
await said(page, "Pro, monthly: Active");
await done("told", page);
await isDeclined(page);
await goesOnWithoutTheService(page);
await close();
tell({ step: "end", faults: [] });
