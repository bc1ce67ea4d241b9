//! The page of a portal session: subscriptions, the card, invoices.

use std::cmp::Reverse;

use super::{Page, Typed, alert, bank_page, card_fields, escaped, money, name_of, nothing_here};
use crate::stripe::model::{InvoiceStatus, PortalSession, Subscription};
use crate::stripe::rest::refused::reason_for_buyers;
use crate::stripe::rest::{State, form};
use crate::stripe::{Stripe, Unpaid};

/// How long a visit lasts, in seconds: some minutes, Stripe says.
const SECONDS: i64 = 3600;

/// The page; `message` is HTML.
pub(super) fn show(state: &State, id: &str, message: Option<&str>) -> Page {
    match session(state, id) {
        Some(session) => Page::Shown(200, "Your billing", body(&state.stripe, session, message.unwrap_or_default())),
        None => nothing_here(),
    }
}

/// A button was pressed.
pub(super) fn act(state: &mut State, id: &str, form: &[(String, String)]) -> Page {
    let Some(customer) = session(state, id).map(|session| session.customer.clone()) else { return nothing_here() };
    let stripe = &mut state.stripe;
    let is_theirs = |stripe: &Stripe, id: &str| stripe.running_subscriptions(&customer).iter().any(|own| own == id);
    let named = form::get(form, "of").unwrap_or_default();
    let done = match form::get(form, "act") {
        Some("cancel") if is_theirs(stripe, named) => {
            stripe.schedule_cancel_at(named);
            Ok("It ends with its period.")
        }
        Some("keep") if is_theirs(stripe, named) => {
            stripe.undo_cancel(named);
            Ok("It goes on.")
        }
        Some("pay") if is_owed(stripe, &customer, named) => {
            stripe.settle(named, None).map(|()| "Thank you: it is paid.").map_err(reason_for_buyers)
        }
        Some("card") => match Typed::of(form) {
            Ok(Typed { card: Some(card), has_confirmed }) => {
                match stripe.change_card_in_portal(&customer, &card, has_confirmed) {
                    Err(Unpaid::NeedsAction) => return bank_page(form),
                    done => done.map(|()| "The new card pays from now on.").map_err(reason_for_buyers),
                }
            }
            Ok(Typed { card: None, .. }) => Err("Type in a card."),
            Err(message) => Err(message),
        },
        _ => Err("That is not to be had any more."),
    };
    let message = match done {
        Ok(message) => format!("<p role=\"status\">{message}</p>"),
        Err(message) => alert(message),
    };
    show(state, id, Some(&message))
}

fn session<'a>(state: &'a State, id: &str) -> Option<&'a PortalSession> {
    let is_good = |session: &&PortalSession| session.created + SECONDS > state.stripe.now;
    state.stripe.portal_sessions.get(id).filter(is_good)
}

fn is_owed(stripe: &Stripe, customer: &str, invoice: &str) -> bool {
    let invoice = stripe.invoices.get(invoice).filter(|invoice| invoice.customer == customer);
    invoice.is_some_and(|invoice| invoice.status == InvoiceStatus::Open)
}

fn body(stripe: &Stripe, session: &PortalSession, message: &str) -> String {
    let customer = &session.customer;
    let running = stripe.running_subscriptions(customer);
    let mut body = format!("{message}<h2>Subscriptions</h2><ul>");
    for id in &running {
        body += &subscription(stripe, &stripe.subscriptions[id]);
    }
    body += "</ul><h2>Card</h2>";
    let card = stripe.customers[customer].default_payment_method.as_ref();
    let card = card.or_else(|| running.iter().find_map(|id| stripe.subscriptions[id].default_payment_method.as_ref()));
    let card = card.map(|card| &stripe.payment_methods[card]);
    let card = card.map_or("None.".to_owned(), |card| format!("{} ···· {}", card.brand, escaped(&card.last4)));
    body.extend([format!("<p id=\"current-card\">{card}</p>")]);
    body += "<form method=\"post\"><input type=\"hidden\" name=\"act\" value=\"card\">";
    body += &card_fields();
    body += "<button>Use this card</button></form><h2>Invoices</h2><ul>";
    let mut invoices: Vec<_> = stripe.invoices.values().filter(|invoice| &invoice.customer == customer).collect();
    invoices.sort_by_key(|invoice| Reverse(invoice.created));
    for invoice in invoices {
        let number = escaped(invoice.number.as_deref().unwrap_or("not yet numbered"));
        body.extend([format!(
            "<li>{number}: {}, {}",
            money(invoice.amount_due, invoice.currency),
            invoice.status.text()
        )]);
        if invoice.status == InvoiceStatus::Open {
            body += &button("pay", &invoice.id, "Pay now");
        }
        body += "</li>";
    }
    body += "</ul>";
    if let Some(to) = &session.return_url {
        body.extend([format!("<p><a id=\"return\" href=\"{}\">Back to the shop</a></p>", escaped(to))]);
    }
    body
}

fn subscription(stripe: &Stripe, subscription: &Subscription) -> String {
    let price = subscription.items[0].price;
    let name = escaped(name_of(stripe, price.product));
    let costs = money(price.unit_amount * subscription.items[0].quantity, price.currency);
    let is_leaving = subscription.cancel_at.is_some() || subscription.cancel_at_period_end;
    let (act, verb) = if is_leaving { ("keep", "Do not cancel") } else { ("cancel", "Cancel") };
    let ends = if is_leaving { ", ends with its period" } else { "" };
    let status = subscription.status.text();
    format!("<li>{name}: {costs}, {status}{ends}{}</li>", button(act, &subscription.id, verb))
}

fn button(act: &str, of: &str, verb: &str) -> String {
    format!(
        "<form method=\"post\"><input type=\"hidden\" name=\"act\" value=\"{act}\">\
         <input type=\"hidden\" name=\"of\" value=\"{}\"><button class=\"quiet\">{verb}</button></form>",
        escaped(of)
    )
}
