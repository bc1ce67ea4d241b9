// `node story.js JSON`: what an operator does at the console by keyboard alone, from a link to the audit trail. Each step is told
// once it is seen to be done; before some the test does something.
import assert from "node:assert/strict";
import { close, goTo, isSaid, judge, loaded, operator, press, sees, tabTo, tell, walkTo } from "./operator.js";

const { base, link, pictures, customer, failed, letter } = JSON.parse(process.argv[2]);

const page = await operator({ base, scheme: "light", width: 1280 });

async function done(step, more = {}) {
  tell({ step, faults: await judge(page, `story-${step}`, pictures), ...more });
}

const type = (text) => page.keyboard.type(text);
const dialog = page.getByRole("dialog");

async function signsInByLink() {
  await page.goto(link);
  await page.getByRole("button", { name: "Continue" }).waitFor();
  assert.equal(page.url(), `${base}/console`, "the token does not stay in the address");
  await press(page, "Continue");
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await sees(page, "Health");
  await page.locator("#firing").getByRole("link", { name: "UnknownPrice" }).waitFor();
  await sees(page, "that no plan matches");
  await loaded(page);
  await done("signed in");
}

async function findsTheCustomer() {
  await page.keyboard.press("/");
  await type(customer.email);
  await dialog.getByRole("link", { name: customer.name }).waitFor();
  await done("searched");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 2, name: "Newest events" }).waitFor();
  await done("customer");
}

async function followsTheFailedEvent() {
  await walkTo(page, failed.id);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 2, name: "What is missing" }).waitFor();
  await sees(page, "It is a dead letter");
  for (const step of ["Its way", "Relays' journals", "The backend's attempts", "Rows changed"]) {
    await page.getByRole("heading", { level: 2, name: step }).waitFor();
  }
  await press(page, "Show the payload");
  await sees(page, `"${failed.id}"`);
  await done("event");
}

async function replaysIt() {
  await press(page, "Replay, dry run first");
  await page.getByRole("heading", { level: 2, name: "Dry run" }).waitFor();
  await page.getByRole("button", { name: "Replay this event…" }).waitFor();
  await page.locator("details", { hasText: "licenses" }).first().waitFor();
  await page.locator("ins", { hasText: "active" }).first().waitFor();
  await done("dry run");
  await press(page, "Replay this event…");
  await dialog.waitFor();
  await type("The index is gone that was in its way");
  await done("asked");
  await page.keyboard.press("Control+Enter");
  await isSaid(page, "Replayed 1 event.");
  await page.getByRole("heading", { level: 2, name: "Replay", exact: true }).waitFor();
  await page.locator("#done .badge", { hasText: "processed" }).first().waitFor();
  await done("replayed");
}

async function resolvesTheDeadLetter() {
  await goTo(page, "d", "Dead letters");
  await walkTo(page, letter.type);
  await page.keyboard.press("x");
  await press(page, "Resolve 1…");
  await dialog.waitFor();
  await type("Made by hand; nothing of it is true");
  await page.keyboard.press("Control+Enter");
  await isSaid(page, "Resolved 1 dead letter.");
  await done("resolved");
}

/** Its app is started meanwhile; the page is not touched. */
async function freesTheMachine() {
  await page.keyboard.press("/");
  await type(customer.id);
  await dialog.getByRole("link", { name: customer.name }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 2, name: "Machines" }).waitFor();
  await done("watching");
  await sees(page, "Ada's <b>laptop</b>");
  await press(page, "Free the seat of Ada's <b>laptop</b>");
  await dialog.waitFor();
  await type("She has sold it");
  await tabTo(page, "Free the seat");
  await page.keyboard.press("Enter");
  await isSaid(page, "The seat is free.");
  await sees(page, "No machine holds a seat.");
  await done("freed");
}

async function answersTheTicket() {
  await goTo(page, "s", "Support");
  await walkTo(page, "Where is my licence?");
  await page.keyboard.press("Enter");
  await sees(page, "I have paid.");
  await press(page, "Answer…");
  await dialog.waitFor();
  await type("It is there now.");
  await page.keyboard.press("Control+Enter");
  await isSaid(page, "The answer is sent.");
  await sees(page, "It is there now.");
  await done("answered");
}

/** All that was done is on record; and a question that is left does nothing. */
async function readsTheAuditTrail() {
  await goTo(page, "u", "Audit");
  for (const act of ["console.sign_in", "webhook_event.look", "webhook_event.replay", "dead_letter.resolve", "machine.deactivate", "ticket.respond"]) {
    await page.getByText(act, { exact: true }).first().waitFor();
  }
  await sees(page, "She has sold it");
  await page.keyboard.press("?");
  await dialog.waitFor();
  await done("keys");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await done("audit");
}

async function signsOut() {
  await press(page, "Sign out");
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
  await page.goto(link);
  await press(page, "Continue");
  await page.getByRole("alert").getByText("used before").waitFor();
  await done("signed out");
}

await signsInByLink();
await findsTheCustomer();
await followsTheFailedEvent();
await replaysIt();
await resolvesTheDeadLetter();
await freesTheMachine();
await answersTheTicket();
await readsTheAuditTrail();
await signsOut();
await close();
tell({ step: "end", faults: [] });
