//! What is missing of an event's way: its page names it, and mends it from there, in a real browser.

use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_tests::event_source::EventSource;
use tollgate_tests::python;
use tollgate_tests::script::Script;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Event, Stripe, delivery};
use tollgate_tests::wait::{SOON, wait_for};
use tollgate_tests::{Stack, StackConfig, on_each_engine, wait_until};

use super::console::{call, license_key, link, program};
use super::{ask_for, looked_up};

/// An operator looks at the page of an event, of which something is missing.
fn look_at(stack: &Stack, event: &Value, missing: &str) -> Script {
    program("missing.js", stack, json!({ "link": link(stack), "event": event, "missing": missing }))
}

/// Waits until the operator has come so far, and has seen nothing wrong with the page.
async fn comes_to(browser: &mut Script, step: &str) {
    let said = browser.next_where(step, |_| true).await;
    assert_eq!((&said["step"], &said["faults"]), (&json!(step), &json!([])), "{said}");
}

/// A subscriber whose mail server knows no such address, and whose app never says what became of what it is told.
struct Unreached {
    stripe: Stripe,
    customer: String,
    machine: Value,
}

impl Unreached {
    /// With its app, which is told of a payment that failed.
    async fn of(stack: &Stack) -> (Self, EventSource) {
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp() - DAY;
        let customer = stripe.sign_up("unknown@example.com", "Ada", Some("user_1"));
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        let key = license_key(stack, &customer).await;
        let machine = json!({ "licenseKey": key, "machineId": "laptop" });
        call(stack, "/api/license/activate", None, machine.clone()).await;
        let path = format!("/api/events/{}?machineId=laptop", key.as_str().expect("a text"));
        let mut app = EventSource::open(&stack.public(&path), None);
        app.next_named("connected").await;
        let is_known = async || looked_up(stack, "/api/admin/stats").await["connected"] == 1;
        wait_until("it is known that the app is there", SOON, is_known).await;
        let mut unreached = Self { stripe, customer, machine };
        let events = unreached.goes_on(|stripe| stripe.begin_unpaid_period(&subscription));
        // This one alone: by several, the app would be told of one, and she of another.
        stack.tell(&delivery::only(&events, |event_type| event_type == "invoice.payment_failed")).await;
        (unreached, app)
    }

    /// What Stripe tells of what happens now.
    fn goes_on(&mut self, happen: impl FnOnce(&mut Stripe)) -> Vec<Event> {
        let told = self.stripe.occurrences.len();
        happen(self.stripe.pass(60));
        self.stripe.events_since(told, ApiVersion::Endive)
    }

    /// The address is another one from now on.
    fn moves(&mut self, address: &str) -> Vec<Event> {
        let customer = self.customer.clone();
        self.goes_on(|stripe| stripe.rename(&customer, address, "Ada"))
    }
}

on_each_engine!(what_is_missing_of_an_event_is_mended_from_its_page, async |engine| {
    let mut server = python::start("mail_server.py", &[]);
    let port = server.next().await.expect("it says where it is")["port"].clone();
    let config = StackConfig::on(engine)
        .relay("RELAY_ID", "relay-a")
        .relay("RELAY_ACK", "backend")
        .backend("SMTP_URL", &format!("smtp://127.0.0.1:{port}?tls=none"))
        .backend("MAIL_FROM", "billing@example.com")
        .backend("PAYMENT_ALERT_ATTEMPTS", "1");
    let mut stack = Stack::spawn(config).await;
    let (mut ada, mut app) = Unreached::of(&stack).await;
    let refused = wait_for("the mail server has refused a message", SOON, async || {
        let path = "/api/admin/messages?template=payment_failing&status=dead_lettered";
        looked_up(&stack, path).await["data"].get(0).cloned()
    });
    let event = refused.await["eventId"].clone();
    stack.tell(&ada.moves("ada@example.com")).await;

    let mut browser = look_at(&stack, &event, "apps and mail");
    comes_to(&mut browser, "named").await;
    while app.next_unread().is_some() {}
    // A week goes by for what the app was told.
    stack.database.execute("UPDATE sessions SET connected_at = '2020-01-01T00:00:00.000000Z'").await;
    stack.database.execute("UPDATE license_events SET created_at = '2020-01-02T00:00:00.000000Z'").await;
    ask_for(&stack, "retry-events").await;
    comes_to(&mut browser, "sent again").await;
    let told = app.next_event().await;
    let mut said = ada.machine.clone();
    said["eventId"] = told.data["id"].clone();
    call(&stack, "/api/events/acknowledge", None, said).await;
    comes_to(&mut browser, "acknowledged").await;
    comes_to(&mut browser, "whole").await;
    let sent = server.next().await.expect("it goes on");
    assert_eq!(sent["to"], json!(["ada@example.com"]));
    drop((browser, app));

    // An event comes while the backend is down; when that is back, the relay is not.
    let events = ada.moves("ada@example.org");
    stack.backend().kill();
    stack.deliver_all(&events, 1).await;
    stack.relay.kill();
    stack.start_backends().await;
    let mut browser = look_at(&stack, &json!(events[0].id), "relay and backend");
    comes_to(&mut browser, "named").await;
    comes_to(&mut browser, "unanswered").await;
    stack.start_relay().await;
    comes_to(&mut browser, "whole").await;
    assert_eq!(stack.event(&events[0].id).await.expect("it has come")["status"], "processed");
});
