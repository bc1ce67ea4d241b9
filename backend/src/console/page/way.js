// One event's way, step by step, and what of it is missing. Pure: what a route answers goes in, sentences come out.

/**
 * What is missing of an event's way: `{step, kind, text, act, letter}`, the first to go by first. `kind` is `missing`, `waiting` where
 * it may come by itself, or `unknown`; `act` is what mends it from there, of the dead letter `letter` where it is a retry.
 */
export function missing({ event, relays, licenseEvents, messages = [], deadLetter, deadLetters = [] }) {
  const found = [];
  const add = (step, text, act = null, kind = "missing", letter = null) => found.push({ step, kind, text, act, letter });
  for (const relay of relays) {
    if (!relay.reachable) add("relays", `The relay ${relay.relay} does not answer: what its journal has of this event is not known.`, null, "unknown");
    else if (relay.confirmed === false) {
      add("relays", `The relay ${relay.relay} holds it, and the backend has not confirmed it in ${times(relay.attempts)}.`, "redeliver");
    }
  }
  if (event === null) {
    add("backend", "It has not reached the backend.", "redeliver");
    return found;
  }
  if (event.status === "failed") add("backend", `It failed in ${times(event.attempts)}: ${event.lastError ?? "for no known reason"}.`, "replay");
  if (event.status === "dead_lettered") {
    const isOpen = deadLetter !== null && deadLetter.status !== "resolved";
    add("backend", `It is a dead letter${isOpen ? "" : ", and resolved"}: ${event.reason ?? event.lastError ?? "for no known reason"}.`, isOpen ? "retry" : "replay", "missing", isOpen ? deadLetter.id : null);
  }
  const lettersOf = (id) => deadLetters.filter(({ eventId }) => eventId === id);
  for (const told of licenseEvents) {
    const letters = lettersOf(told.eventId);
    for (const { id, machineId, source, reason, status } of letters) {
      const text = `${machineId} ${source === "delivery" ? "has not acknowledged" : "failed at"} ${told.type} (${told.eventId}): ${reason}`;
      if (status === "retrying") add("acknowledgements", `${text}; it is sent again.`, null, "waiting");
      else add("acknowledgements", `${text}.`, "send", "missing", id);
    }
    // Of what failed later in the same way there is one letter, with the newest of them.
    const failed = told.acknowledgements.filter(({ status, machineId }) => status === "failed" && !letters.some((letter) => letter.machineId === machineId));
    for (const { machineId, error } of failed) {
      add("acknowledgements", `${machineId ?? "A machine"} failed at ${told.type}: ${error ?? "it did not say why"}.`, "letters");
    }
    if (told.acknowledgements.length === 0 && letters.length === 0) {
      add("acknowledgements", `No app has acknowledged ${told.type} (${told.eventId}).`, null, "waiting");
    }
  }
  for (const message of messages) {
    if (message.status === "queued") add("messages", `${named(message)} waits${message.lastError ? ` after ${times(message.attempts)}: ${message.lastError}` : " to be sent"}.`, null, "waiting");
    if (message.status === "dead_lettered") {
      const letter = lettersOf(message.id)[0];
      const text = `${named(message)} was not sent: ${message.lastError ?? message.reason ?? "for no known reason"}.`;
      add("messages", text, letter ? "resend" : "letters", "missing", letter?.id ?? null);
    }
    if (message.status === "skipped" && isMissed(message)) add("messages", `${named(message)} was not sent: ${message.reason ?? "for no known reason"}.`);
  }
  return found;
}

/** Whether a message was not sent though it should have been: not for want of a device, or since nobody wants or needs it. */
const isMissed = ({ channel, reason }) => ["no_address", "too_many"].includes(reason) || (channel === "email" && reason === "not_configured");

const named = ({ channel, template, id }) => `The ${channel} ${template} (${id})`;
const times = (number) => (number === 1 ? "one attempt" : `${number ?? 0} attempts`);

/** The moments of its way in their order: `{at, what, by}`. */
export function moments({ event, relays, attempts, licenseEvents, messages = [], deadLetter }) {
  const all = [
    { at: event?.createdAt, what: "made at Stripe" },
    ...relays.map(({ relay, receivedAt }) => ({ at: receivedAt, what: `in the journal of ${relay}` })),
    { at: event?.receivedAt, what: "at the backend" },
    ...attempts.map(({ at, by, outcome }) => ({ at, what: `${outcome}, tried by ${by === "relay" ? "a relay's delivery" : by === "retry" ? "the backend itself" : "an operator"}` })),
    ...licenseEvents.map(({ createdAt, type }) => ({ at: createdAt, what: `${type} in the licence's log` })),
    ...licenseEvents.flatMap(({ type, acknowledgements }) =>
      acknowledgements.map(({ acknowledgedAt, status }) => ({ at: acknowledgedAt, what: `${type} ${status} by an app` })),
    ),
    ...messages.map(({ sentAt, template, channel }) => ({ at: sentAt, what: `${template} sent by ${channel}` })),
    { at: deadLetter?.resolvedAt, what: "its dead letter resolved" },
  ];
  return all.filter(({ at }) => at != null).sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
}
