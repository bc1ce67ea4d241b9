//! The page of a Checkout session: what it costs, a card, and on to where the shop wants its buyers.

use super::{Page, Typed, alert, bank_page, card_fields, escaped, field, money, name_of, nothing_here};
use crate::stripe::Buyer;
use crate::stripe::model::{CheckoutSession, Mode};
use crate::stripe::rest::refused::reason_for_buyers;
use crate::stripe::rest::{State, form};
use crate::stripe::{DAY, Stripe, Unpaid};

/// The page, while somebody can still go through.
pub(super) fn show(state: &mut State, id: &str) -> Page {
    match open_session(state, id) {
        Ok(session) => shown(&state.stripe, &session, &[], ""),
        Err(page) => page,
    }
}

/// Somebody pays, or tries to.
pub(super) fn go_through(state: &mut State, id: &str, form: &[(String, String)]) -> Page {
    let session = match open_session(state, id) {
        Ok(session) => session,
        Err(page) => return page,
    };
    let again = |message: &str| shown(&state.stripe, &session, form, &alert(message));
    let typed = match Typed::of(form) {
        Ok(typed) => typed,
        Err(message) => return again(message),
    };
    let text = |name: &str| form::get(form, name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let email = text("email");
    if session.customer.is_empty() && !email.as_ref().is_some_and(|email| email.contains('@')) {
        return again("Type in your e-mail address.");
    }
    let coupon = match text("promotion_code").map(|code| state.stripe.coupon_of(id, &code)) {
        Some(None) => return again("This code is invalid."),
        typed => typed.flatten(),
    };
    let buyer = Buyer { email, name: text("name"), card: typed.card, has_confirmed: typed.has_confirmed, coupon };
    match state.stripe.complete_session(id, &buyer) {
        Ok(()) => Page::Sent(session.opened.success_url.replace("{CHECKOUT_SESSION_ID}", id)),
        Err(Unpaid::NeedsAction) => bank_page(form),
        Err(why) => shown(&state.stripe, &session, form, &alert(reason_for_buyers(why))),
    }
}

fn open_session(state: &mut State, id: &str) -> Result<CheckoutSession, Page> {
    let session = state.stripe.sessions.get(id).ok_or_else(nothing_here)?;
    if session.status == "open" && session.expires_at() <= state.stripe.now {
        state.stripe.expire_session(id);
    }
    let session = state.stripe.sessions[id].clone();
    let back = |to: &str| format!("<p><a href=\"{}\">Back to the shop</a></p>", escaped(to));
    match session.status {
        "open" => Ok(session),
        "complete" => {
            let to = session.opened.success_url.replace("{CHECKOUT_SESSION_ID}", id);
            Err(Page::Shown(200, "You are done", format!("<p>This was paid for.</p>{}", back(&to))))
        }
        _ => {
            let to = session.opened.cancel_url.as_deref().map(back).unwrap_or_default();
            Err(Page::Shown(410, "Too late", format!("<p>Nobody can pay here any more.</p>{to}")))
        }
    }
}

fn shown(stripe: &Stripe, session: &CheckoutSession, typed: &[(String, String)], message: &str) -> Page {
    let was = |name: &str| form::get(typed, name).unwrap_or_default();
    let price = session.prices[0];
    let each = price.interval.name().map_or(String::new(), |interval| format!(" a {interval}"));
    let full = money(session.amount_subtotal(), price.currency);
    let times = if session.opened.quantity == 1 { String::new() } else { format!(" × {}", session.opened.quantity) };
    let mut body =
        format!("{message}<p><strong>{}</strong>{times}: {full}{each}</p>", escaped(name_of(stripe, price.product)));
    if let Some(end) = session.opened.trial_end {
        let days = (end - session.created) / DAY;
        body.extend([format!("<p>{days} days free. Nothing is due today.</p>")]);
    } else {
        body.extend([format!(
            "<p>Due today: <strong id=\"due\">{}</strong></p>",
            money(session.due(), price.currency)
        )]);
    }
    body += "<form method=\"post\">";
    if let Some(customer) = stripe.customers.get(&session.customer) {
        let email = escaped(customer.email.as_deref().unwrap_or_default());
        body.extend([format!("<p>{email}</p>")]);
    } else {
        let given = session.email.as_deref().filter(|_| was("email").is_empty()).unwrap_or(was("email"));
        body += &field("email", "E-mail", "type=\"email\" autocomplete=\"email\" required", given);
    }
    body += &card_fields();
    body += &field("name", "Name on card", "autocomplete=\"cc-name\"", was("name"));
    if session.opened.allows_promotion_codes {
        body += &field("promotion_code", "Promotion code", "autocomplete=\"off\"", was("promotion_code"));
        let codes = stripe.coupons.iter().map(|coupon| format!("{} takes {} % off", coupon.code, coupon.percent_off));
        body.extend([format!("<p><small>{}.</small></p>", codes.collect::<Vec<_>>().join(", "))]);
    }
    let verb = match session.mode {
        _ if session.opened.trial_end.is_some() => "Start trial",
        Mode::Subscription => "Subscribe",
        Mode::Payment => "Pay",
    };
    body.extend([format!("<button id=\"pay\">{verb}</button>")]);
    if let Some(cancel) = &session.opened.cancel_url {
        body.extend([format!("<a id=\"cancel\" href=\"{}\">Cancel</a>", escaped(cancel))]);
    }
    Page::Shown(200, "Checkout", body + "</form>")
}
