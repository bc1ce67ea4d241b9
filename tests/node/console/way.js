// `node way.js`: what an event's page says is missing, case by case, and what it offers to mend that with.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const source = readFileSync(new URL("../../../backend/src/console/page/way.js", import.meta.url), "utf8");
const { missing, moments } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const at = (second) => `2026-11-20T09:30:0${second}Z`;
const relay = { relay: "relay-a", reachable: true, receivedAt: at(1), confirmed: true, attempts: 1 };
const event = { id: "evt_1", status: "processed", createdAt: at(0), receivedAt: at(2), attempts: 1, reason: null, lastError: null };
const told = { eventId: "sev_1", type: "license_created", createdAt: at(3), acknowledgements: [{ machineId: "mac_1", status: "processed", acknowledgedAt: at(5), error: null }] };
const message = { id: "msg_1", template: "payment_failed", channel: "email", status: "sent", attempts: 1, reason: null, lastError: null, sentAt: at(6) };
const whole = {
  event,
  relays: [relay],
  attempts: [{ at: at(3), by: "relay", outcome: "processed" }],
  licenseEvents: [told],
  messages: [message],
  deadLetter: null,
};

function says(change, expected, letters = []) {
  const found = missing({ ...whole, ...change });
  assert.deepEqual(found.map(({ step, kind, act }) => [step, kind, act]), expected, JSON.stringify(found));
  const ofLetters = found.filter(({ act }) => ["retry", "send", "resend"].includes(act));
  assert.deepEqual(ofLetters.map(({ letter }) => letter), letters, JSON.stringify(found));
  return found.map(({ text }) => text).join(" ");
}

says({}, []);
assert.match(says({ relays: [{ relay: "http://relay-b:3001/", reachable: false }] }, [["relays", "unknown", null]]), /http:\/\/relay-b:3001\/ does not answer/);
assert.match(
  says({ event: null, relays: [{ ...relay, confirmed: false, attempts: 3 }], attempts: [], licenseEvents: [], messages: [] }, [
    ["relays", "missing", "redeliver"],
    ["backend", "missing", "redeliver"],
  ]),
  /has not confirmed it in 3 attempts. It has not reached the backend/,
);
assert.match(says({ event: { ...event, status: "failed", attempts: 2, lastError: "database_unavailable" } }, [["backend", "missing", "replay"]]), /failed in 2 attempts: database_unavailable/);
const dead = { ...event, status: "dead_lettered", reason: "database_constraint" };
says({ event: dead, deadLetter: { id: "dl_1", status: "open" } }, [["backend", "missing", "retry"]], ["dl_1"]);
says({ event: dead, deadLetter: { status: "resolved" } }, [["backend", "missing", "replay"]]);
assert.match(says({ licenseEvents: [{ ...told, acknowledgements: [] }] }, [["acknowledgements", "waiting", null]]), /No app has acknowledged license_created \(sev_1\)/);
const failed = { machineId: "mac_1", status: "failed", acknowledgedAt: at(5), error: "disk full" };
assert.match(says({ licenseEvents: [{ ...told, acknowledgements: [failed] }] }, [["acknowledgements", "missing", "letters"]]), /mac_1 failed at license_created: disk full/);
const letter = { id: "dl_1", eventId: "sev_1", machineId: "mac_2", source: "delivery", reason: "not acknowledged for 7 days", status: "open" };
assert.match(says({ deadLetters: [letter] }, [["acknowledgements", "missing", "send"]], ["dl_1"]), /mac_2 has not acknowledged license_created \(sev_1\): not acknowledged for 7 days/);
says({ licenseEvents: [{ ...told, acknowledgements: [] }], deadLetters: [letter] }, [["acknowledgements", "missing", "send"]], ["dl_1"]);
says({ deadLetters: [{ ...letter, status: "retrying" }] }, [["acknowledgements", "waiting", null]]);
const said = { ...letter, id: "dl_2", machineId: "mac_1", source: "desktop", reason: "disk full" };
assert.match(says({ licenseEvents: [{ ...told, acknowledgements: [failed] }], deadLetters: [letter, said] }, [["acknowledgements", "missing", "send"], ["acknowledgements", "missing", "send"]], ["dl_1", "dl_2"]), /mac_1 failed at license_created \(sev_1\): disk full/);
const refused = { ...message, status: "dead_lettered", lastError: "550 no such user", sentAt: null };
assert.match(says({ messages: [refused] }, [["messages", "missing", "letters"]]), /email payment_failed \(msg_1\) was not sent: 550 no such user/);
says({ messages: [refused], deadLetters: [{ ...letter, eventId: "msg_1", machineId: null, source: "notification" }] }, [["messages", "missing", "resend"]], ["dl_1"]);
says({ messages: [{ ...message, status: "skipped", reason: "no_address", sentAt: null }] }, [["messages", "missing", null]]);
for (const reason of ["no_device", "off", "settled"]) says({ messages: [{ ...message, status: "skipped", channel: "push", reason, sentAt: null }] }, []);
says({ messages: [{ ...message, status: "queued", sentAt: null }] }, [["messages", "waiting", null]]);

const way = moments(whole).map(({ what }) => what);
assert.deepEqual(way, [
  "made at Stripe",
  "in the journal of relay-a",
  "at the backend",
  "processed, tried by a relay's delivery",
  "license_created in the licence's log",
  "license_created processed by an app",
  "payment_failed sent by email",
]);
console.log(JSON.stringify({ moments: way.length }));
