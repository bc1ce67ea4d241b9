//! The page of whoever plays Stripe: what is in the account, and buttons that let time pass and calls fail. A script presses
//! them as a browser does: `curl -d act=advance -d days=30 http://127.0.0.1:12111/`.

use tollgate_shared::clock::from_unix;

use super::{Page, alert, escaped, field, money, name_of};
use crate::stripe::DAY;
use crate::stripe::rest::webhooks::Mishaps;
use crate::stripe::rest::{Fault, State, form};
use crate::stripe::shape::ApiVersion;

/// How many of the last events are shown.
const EVENTS: usize = 25;
/// The farthest that time goes at once, in days.
const DAYS_MAX: i64 = 3660;

/// How webhooks come.
const WEBHOOKS: &str = "<form method=\"post\">\
    <label for=\"lost\">Share of webhooks that are lost</label><input id=\"lost\" name=\"lost\" value=\"0\">\
    <label for=\"twice\">Share that come twice</label><input id=\"twice\" name=\"twice\" value=\"0\">\
    <label for=\"shuffled\">In any order (write yes)</label><input id=\"shuffled\" name=\"shuffled\">\
    <button name=\"act\" value=\"deliver\">Deliver so</button>\
    <button name=\"act\" value=\"roll\" class=\"quiet\">Roll the secret</button>\
    <button name=\"act\" value=\"forget\" class=\"quiet\">Forget the old secret</button></form>";

/// The page; `message` is HTML.
pub(super) fn show(state: &State, message: &str) -> Page {
    Page::Shown(200, "A Stripe to test against", body(state, message))
}

/// A button was pressed.
pub(super) fn act(state: &mut State, form: &[(String, String)]) -> Page {
    let number = |name: &str| form::get(form, name).and_then(|text| text.trim().parse::<i64>().ok());
    let done = match form::get(form, "act") {
        Some("advance") => match number("days").filter(|days| (0..=DAYS_MAX).contains(days)) {
            Some(days) => Ok(go_on(state, state.stripe.now + days * DAY)),
            None => Err(format!("days: 0 to {DAYS_MAX}")),
        },
        Some("next") => match state.stripe.next_due_at() {
            Some(at) => Ok(go_on(state, at.max(state.stripe.now))),
            None => Err("nothing is due".to_owned()),
        },
        Some("fail") => match form::get(form, "how").and_then(fault) {
            Some(fault) => {
                let times = number("calls").unwrap_or(1).clamp(1, 1000);
                state.faults.extend((0..times).map(|_| Some(fault.clone())));
                Ok(format!("The next {times} calls fail."))
            }
            None => Err("how: 400 to 599, silent or lost".to_owned()),
        },
        Some("recover") => {
            state.faults.clear();
            Ok("Calls fail no more.".to_owned())
        }
        Some("deliver") => match ["lost", "twice"].map(|name| share(form::get(form, name))) {
            [Some(lost), Some(twice)] => {
                let shuffled = form::get(form, "shuffled").is_some_and(|shuffled| !shuffled.is_empty());
                state.webhooks.mishaps = Mishaps { lost, twice, shuffled };
                Ok(format!("Of the webhooks {lost} are lost and {twice} come twice."))
            }
            _ => Err("lost, twice: from 0 to 1".to_owned()),
        },
        Some("roll") => {
            let secret = state.stripe.new_secret();
            state.webhooks.roll_secrets(&secret);
            Ok(format!("Webhooks are signed with {secret} too, until `act=forget`."))
        }
        Some("forget") => {
            state.webhooks.forget_old_secrets();
            Ok("Webhooks are signed with the newest secret alone.".to_owned())
        }
        _ => Err("act: advance, next, fail, recover, deliver, roll or forget".to_owned()),
    };
    match done {
        Ok(message) => show(state, &format!("<p role=\"status\">{}</p>", escaped(&message))),
        Err(message) => Page::Shown(400, "A Stripe to test against", body(state, &alert(&message))),
    }
}

/// A share of all, none where nothing is said.
fn share(text: Option<&str>) -> Option<f64> {
    text.unwrap_or("0").trim().parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

/// What goes wrong, by its name.
fn fault(name: &str) -> Option<Fault> {
    match name {
        "silent" => Some(Fault::Silent),
        "lost" => Some(Fault::AnswerLost),
        status => status.parse().ok().filter(|status| (400..600).contains(status)).map(Fault::Status),
    }
}

fn go_on(state: &mut State, then: i64) -> String {
    if let Some(ahead) = &mut state.keeps_time {
        *ahead += then - state.stripe.now;
    }
    let first = state.stripe.occurrences.len();
    state.stripe.advance_to(then);
    format!("It is {} now; {} events.", time(then), state.stripe.occurrences.len() - first)
}

fn time(at: i64) -> String {
    from_unix(at).map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn body(state: &State, message: &str) -> String {
    let stripe = &state.stripe;
    let days = field("days", "Days", "type=\"number\" min=\"0\"", "30");
    let mut body = format!(
        "{message}<p>It is <strong id=\"now\">{}</strong>. {} webhooks are on their way.</p><form method=\"post\">{days}\
         <button name=\"act\" value=\"advance\">Let them pass</button>\
         <button name=\"act\" value=\"next\" class=\"quiet\">Until the next thing is due</button></form>\
         <form method=\"post\">{}{}<button name=\"act\" value=\"fail\">Fail</button>\
         <button name=\"act\" value=\"recover\" class=\"quiet\">Fail no more</button></form>{WEBHOOKS}<h2>Subscriptions</h2><ul>",
        time(stripe.now),
        state.webhooks.owed(),
        field("how", "How calls fail: a status, silent, or lost (done, and not answered)", "", "500"),
        field("calls", "How many calls", "type=\"number\" min=\"1\"", "1"),
    );
    for subscription in stripe.subscriptions.values() {
        let customer = &stripe.customers[&subscription.customer];
        let price = subscription.items[0].price;
        body.extend([format!(
            "<li>{}: {}, {}, {}, until {}</li>",
            escaped(customer.email.as_deref().unwrap_or(&customer.id)),
            escaped(name_of(stripe, price.product)),
            money(price.unit_amount * subscription.items[0].quantity, price.currency),
            subscription.status.text(),
            time(subscription.items[0].period.end),
        )]);
    }
    body += "</ul><h2>Open checkouts</h2><ul>";
    for session in stripe.sessions.values().filter(|session| session.status == "open") {
        let url = escaped(session.opened.url.as_deref().unwrap_or_default());
        body.extend([format!(
            "<li><a href=\"{url}\">{}</a></li>",
            escaped(name_of(stripe, session.prices[0].product))
        )]);
    }
    body += "</ul><h2>The last events</h2><ul>";
    for occurrence in stripe.occurrences.iter().rev().filter(|it| ApiVersion::Endive.has(it.event_type)).take(EVENTS) {
        body.extend([format!("<li><small>{}</small> {}</li>", time(occurrence.created), occurrence.event_type)]);
    }
    body + "</ul>"
}
