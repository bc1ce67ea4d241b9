//! The pages that Stripe has for customers, as plain forms: the till of a Checkout session, and the customer portal. What
//! a card does is in its number: <https://docs.stripe.com/testing>. And a page for whoever plays Stripe.

mod desk;
mod portal;
mod till;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;

use super::{Call, Shared, form, webhooks};
use crate::stripe::{NewCard, Stripe};

/// What becomes of a visit.
enum Page {
    /// A page with this status and title, and what is in its body.
    Shown(u16, &'static str, String),
    /// On to somewhere else.
    Sent(String),
}

/// Answers a browser.
pub(super) async fn show(shared: &Arc<Shared>, call: &Call) -> Response<Full<Bytes>> {
    let parts: Vec<_> = call.path.trim_matches('/').split('/').collect();
    let (page, happened) = {
        let mut state = shared.lock();
        state.look_at_the_clock();
        let first = state.stripe.occurrences.len();
        let page = match (&call.method, &parts[..]) {
            (&Method::GET, [""]) => desk::show(&state, ""),
            (&Method::POST, [""]) => desk::act(&mut state, &call.form),
            (&Method::GET, ["c", "pay", id]) => till::show(&mut state, id),
            (&Method::POST, ["c", "pay", id]) => till::go_through(&mut state, id, &call.form),
            (&Method::GET, ["p", "session", id]) => portal::show(&state, id, None),
            (&Method::POST, ["p", "session", id]) => portal::act(&mut state, id, &call.form),
            _ => nothing_here(),
        };
        state.announce();
        let happened = state.stripe.occurrences[first..].iter().map(|occurrence| occurrence.id.clone());
        (page, happened.collect::<Vec<_>>())
    };
    if parts != [""] {
        // Whoever comes back to the shop finds that it knows.
        webhooks::taken(shared, &happened).await;
    }
    respond(page)
}

fn respond(page: Page) -> Response<Full<Bytes>> {
    let response = Response::builder().header("cache-control", "no-store");
    let (response, body) = match page {
        Page::Sent(to) => (response.status(303).header("location", to), String::new()),
        Page::Shown(status, title, body) => (
            response.status(status).header("content-type", "text/html; charset=utf-8").header(
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
            format!(
                "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\
                 <body><main><h1>{title}</h1>{body}</main></body></html>"
            ),
        ),
    };
    response.body(Full::new(Bytes::from(body))).unwrap_or_else(|_| Response::new(Full::new(Bytes::new())))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;background:#f6f8fa;color:#1a1f36;margin:0}\
    main{max-width:30rem;margin:2rem auto;padding:2rem;background:#fff;border-radius:8px}\
    h1{font-size:1.4rem;margin-top:0}h2{font-size:1.1rem}label{display:block;margin:.75rem 0 .2rem}\
    input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #8792a2;border-radius:4px}\
    button{font:inherit;padding:.5rem 1rem;margin:1rem .5rem 0 0;border:0;border-radius:4px;background:#4b45c6;color:#fff}\
    button.quiet{background:#e3e8ee;color:#1a1f36}[role=alert]{background:#fde8ea;padding:.5rem}\
    [role=status]{background:#e3f5e9;padding:.5rem}small{color:#4f566b}li{margin:.3rem 0}";

fn nothing_here() -> Page {
    Page::Shown(404, "Nothing here", "<p>This page is not there, or no longer.</p>".to_owned())
}

/// Text as it stands in HTML, also between quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// An amount in minor units, as it is read.
fn money(amount: i64, currency: &str) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let (whole, rest) = (amount.abs() / 100, amount.abs() % 100);
    format!("{sign}{whole}.{rest:02} {}", escaped(&currency.to_uppercase()))
}

/// A field with its label.
fn field(name: &str, label: &str, kind: &str, value: &str) -> String {
    let (label, value) = (escaped(label), escaped(value));
    format!("<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" {kind} value=\"{value}\">")
}

/// The fields of a card, without its owner's.
fn card_fields() -> String {
    let number = "inputmode=\"numeric\" autocomplete=\"cc-number\" placeholder=\"4242 4242 4242 4242\"";
    let fields = [
        field("card", "Card number", number, ""),
        field("expires", "Expires", "autocomplete=\"cc-exp\" placeholder=\"12 / 34\"", ""),
        field("cvc", "Security code", "autocomplete=\"cc-csc\" placeholder=\"123\"", ""),
    ];
    fields.concat()
        + "<p><small>No card is charged here. 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined, \
           4000 0000 0000 9995 has no money, 4000 0000 0000 0341 pays nothing later, 4000 0027 6000 3184 asks the bank.\
           </small></p>"
}

/// What the bank asks for, before it pays with the card that was typed in.
fn bank_page(form: &[(String, String)]) -> Page {
    let mut body = "<p>Your bank wants to know whether it is really you.</p><form method=\"post\">".to_owned();
    for (name, value) in form.iter().filter(|(name, _)| name != "bank") {
        let _ = write!(body, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value));
    }
    body += "<button name=\"bank\" value=\"confirmed\">It is me</button>\
             <button class=\"quiet\" name=\"bank\" value=\"refused\">It is not</button></form>";
    Page::Shown(200, "Your bank", body)
}

/// What went wrong, for whoever looks or hears.
fn alert(message: &str) -> String {
    format!("<p role=\"alert\">{}</p>", escaped(message))
}

/// The card that was typed in, and whether the bank was told that it is really its owner's.
struct Typed {
    card: Option<NewCard>,
    has_confirmed: bool,
}

impl Typed {
    /// `Err`: why it is none.
    fn of(form: &[(String, String)]) -> Result<Self, &'static str> {
        let has_confirmed = match form::get(form, "bank") {
            Some("refused") => return Err("We are unable to authenticate your payment method."),
            other => other == Some("confirmed"),
        };
        let card = match form::get(form, "card").map(str::trim).filter(|number| !number.is_empty()) {
            Some(number) => Some(NewCard::of_number(number).ok_or("Your card number is invalid.")?),
            None => None,
        };
        Ok(Self { card, has_confirmed })
    }
}

/// How something that is sold is called.
fn name_of<'a>(stripe: &'a Stripe, product: &'a str) -> &'a str {
    stripe.products.get(product).map_or(product, String::as_str)
}
