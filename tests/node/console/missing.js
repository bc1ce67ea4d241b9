// `node missing.js JSON`: an operator at the page of an event of which something is missing, who mends it from there, by keyboard
// alone. Each step is told once it is seen to be done; after some the test does something.
import { close, isSaid, judge, loaded, operator, press, sees, tell } from "./operator.js";

const { base, link, pictures, event, missing } = JSON.parse(process.argv[2]);

const page = await operator({ base, scheme: "light", width: 1280 });
const list = page.locator("#missing");

async function done(step) {
  tell({ step, faults: await judge(page, `missing-${missing}-${step}`.replaceAll(" ", "-"), pictures) });
}

/** Presses what mends it, says why, and hears that it is done. */
async function mends(name, why, said) {
  await press(page, name);
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type(why);
  await page.keyboard.press("Control+Enter");
  await isSaid(page, said);
}

async function whatAppsAndMailServersDidNotTake() {
  await list.getByText("No app has acknowledged payment_failed").waitFor();
  await list.getByText(/The email payment_failing .* was not sent: .*550/).waitFor();
  await done("named");
  await list.getByText(/has not acknowledged payment_failed .*: not acknowledged for 7 days/).waitFor();
  await mends("Send it again…", "Its owner says that the app did not see it", "Retried: sent.");
  await list.getByText("it is sent again").waitFor();
  await done("sent again");
  await list.getByText("acknowledged").first().waitFor({ state: "detached" });
  await done("acknowledged");
  await mends("Send the message again…", "The address is right now", "Retried: queued.");
  await sees(page, "Nothing is: each step is done.");
  await done("whole");
}

async function whatARelayAndABackendDidNotTake() {
  await list.getByText(/The relay .* does not answer: what its journal has of this event is not known/).waitFor();
  await list.getByText("It has not reached the backend.").waitFor();
  await done("named");
  await mends("Redeliver…", "It may be in that relay's journal", "did not answer");
  await done("unanswered");
  await list.getByText("does not answer").waitFor({ state: "detached" });
  await mends("Redeliver…", "The relay is back", "relay-a: confirmed.");
  await sees(page, "Nothing is: each step is done.");
  await done("whole");
}

await page.goto(link);
await press(page, "Continue");
await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
await page.goto(`/console/events/${event}`);
await page.getByRole("heading", { level: 2, name: "What is missing" }).waitFor();
await loaded(page);
await (missing === "relay and backend" ? whatARelayAndABackendDidNotTake() : whatAppsAndMailServersDidNotTake());
await close();
