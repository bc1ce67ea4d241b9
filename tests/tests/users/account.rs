//! The account page in a real browser, through both tiers.

use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_tests::http::Response;
use tollgate_tests::node::{self, packages, pictures, programs};
use tollgate_tests::script::Script;
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::stripe::catalogue::{LIFETIME_PLAN, PLANS, PRO_FOR_GOOD, PRO_MONTHLY};
use tollgate_tests::stripe::rest::{Api, Endpoint, SECRET_KEY};
use tollgate_tests::stripe::verbs::GiveUp;
use tollgate_tests::stripe::{ApiVersion, Billed, Checkout, DAY, OneOff, Stripe};
use tollgate_tests::{Engine, EventSource, Stack, StackConfig, on_each_engine};

/// A program of `tests/node/account`, which is told where the page is and what sessions are made with.
fn program(name: &str, stack: &Stack, mut told: Value) -> Script {
    packages();
    told["base"] = stack.public("").into();
    told["secret"] = stack.secrets.of("AUTH_SECRET").into();
    told["pictures"] = pictures().into();
    node::start(&programs().join("account").join(name), &[&told.to_string()])
}

/// Without decimals, and with three; and with a name that would be HTML.
const IN_OTHER_CURRENCIES: &str = r#"
[[plan]]
id = "yen"
tier = "pro"
name = "Pro in Japan"
stripe_price = "price_yen"
currency = "jpy"
unit_amount = 3500
interval = "month"

[[plan]]
id = "dinar"
tier = "pro"
name = "A <b>dinar</b>"
stripe_price = "price_dinar"
currency = "kwd"
unit_amount = 9500
interval = "year"
"#;

/// A user in each state, and what the page calls it.
fn users_of(stripe: &mut Stripe) -> Value {
    let mut subscriber = |name: &str, trial_days: Option<i64>| {
        let customer = stripe.sign_up(&format!("{name}@example.com"), "Ada", Some(name));
        stripe.checkout(&customer, &Checkout { trial_days, ..Checkout::default() }).0
    };
    subscriber("trial", Some(14));
    subscriber("active", None);
    let [overdue, on_hold, ending, ended] =
        ["overdue", "on_hold", "ending", "ended"].map(|name| subscriber(name, None));
    for subscription in [&overdue, &on_hold] {
        stripe.begin_unpaid_period(subscription);
        stripe.fail_again(subscription);
    }
    stripe.give_up(&on_hold, GiveUp::Unpaid);
    stripe.schedule_cancel(&ending);
    stripe.cancel(&ended);
    let customer = stripe.sign_up("for_good@example.com", "Ada", Some("for_good"));
    stripe.buy_once(&customer, &OneOff { plan_id: Some(LIFETIME_PLAN), ..OneOff::priced(&PRO_FOR_GOOD) });
    let state = |name: &str, says: &str| json!({ "name": name, "user": name, "says": says });
    json!([
        { "name": "signed_out", "user": null, "says": "You are signed out" },
        { "name": "loading", "user": "active", "says": null },
        { "name": "none", "user": "none", "says": "No plan", "texts": ["¥3,500 per month", "A <b>dinar</b>", "KWD\u{a0}9.500 per year"] },
        state("trial", "Free trial"),
        state("active", "Active"),
        state("overdue", "Payment overdue"),
        state("on_hold", "On hold"),
        state("ending", "Ends soon"),
        state("ended", "Ended"),
        state("for_good", "Yours for good"),
    ])
}

on_each_engine!(the_account_page_is_sound_in_every_state, async |engine| {
    let plans = format!("{PLANS}{IN_OTHER_CURRENCIES}");
    let stack = Stack::spawn(StackConfig { plans, ..StackConfig::on(engine) }).await;
    let mut stripe = Stripe::fresh();
    let states = users_of(&mut stripe);
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    let mut browser = program("states.js", &stack, json!({ "states": states }));
    let mut seen = 0;
    loop {
        let said = browser.next_where("what is wrong with a state", |_| true).await;
        if said["name"].is_null() {
            break;
        }
        assert_eq!(said["faults"], json!([]), "{said}");
        seen += 1;
    }
    assert_eq!(seen, 2 * states.as_array().expect("a list").len());
});

/// Somebody who was a customer once, at their account page and at their machine.
struct Scene {
    stack: Stack,
    api: Api,
    /// `cus_…`
    customer: String,
    /// The licence's key.
    key: String,
    /// What their desktop app listens to.
    desktop: EventSource,
    browser: Script,
}

const USER: &str = "user_1";
const MACHINE: &str = "a machine";

impl Scene {
    async fn on(engine: Engine) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp() - DAY;
        let customer = stripe.sign_up("ada@example.com", "Ada", Some(USER));
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stripe.pass(60).cancel(&subscription);
        let api = Api::start(&stripe).await;
        let config = StackConfig::on(engine).backend("STRIPE_SECRET_KEY", SECRET_KEY);
        let stack = Stack::spawn(config.backend("STRIPE_API_BASE", &api.base)).await;
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        api.keeps_time();
        api.deliver_to(Endpoint::new(&stack.public(WEBHOOK_PATH), &stack.secrets.webhook));
        let state = stack.customer(&customer).await.expect("the customer is known");
        let key = state["licenses"][0]["key"].as_str().expect("a purchase gives a licence").to_owned();
        let mut desktop = EventSource::open(&stack.public(&format!("/api/events/{key}")), None);
        desktop.next_named("connected").await;
        let link = stack.backends[0].command(&["token", "--sub", USER, "--link"]);
        let link = String::from_utf8(link.stdout).expect("an address is text");
        let browser = program("story.js", &stack, json!({ "user": USER, "link": link.trim() }));
        Self { stack, api, customer, key, desktop, browser }
    }

    /// Waits until the browser has come so far, and has seen nothing wrong with the page.
    async fn comes_to(&mut self, step: &str) -> Value {
        let said = self.browser.next_where(step, |_| true).await;
        assert_eq!((&said["step"], &said["faults"]), (&json!(step), &json!([])), "{said}");
        said
    }

    async fn call_from_machine(&self, call: &str) -> Response {
        let body = json!({ "licenseKey": self.key, "machineId": MACHINE, "machineName": "Ada's <b>laptop</b>" });
        self.stack.http.post(&self.stack.public(&format!("/api/license/{call}")), &[JSON], body.to_string()).await
    }

    async fn verdict_on_machine(&self) -> Value {
        self.call_from_machine("validate").await.json()["code"].clone()
    }

    async fn is_good(&self, key: &Value) -> Value {
        let body = json!({ "key": key }).to_string();
        self.stack.internal(Method::POST, "/v1/api-keys/verify", body).await.json()["valid"].clone()
    }
}

on_each_engine!(a_customer_has_everything_in_hand_on_the_account_page, async |engine| {
    let mut scene = Scene::on(engine).await;
    for step in ["link", "spent link"] {
        scene.comes_to(step).await;
    }
    let current = scene.comes_to("bought").await["current"].clone();
    let subscription = current["subscription"]["stripeSubscriptionId"].as_str().expect("there is one").to_owned();
    assert_eq!((&current["subscription"]["status"], &current["plan"]["id"]), (&json!("active"), &json!("pro_monthly")));
    assert_eq!((&current["license"]["status"], &current["license"]["key"]), (&json!("active"), &json!(scene.key)));
    scene.desktop.next_named("subscription_created").await;
    assert_eq!(scene.call_from_machine("activate").await.status, 201);

    for (step, event) in [
        ("preview", None),
        ("changed", Some("plan_changed")),
        ("asked", None),
        ("cancelled", Some("subscription_cancel_scheduled")),
        ("taken back", Some("subscription_reactivated")),
    ] {
        scene.comes_to(step).await;
        if let Some(event) = event {
            scene.desktop.next_named(event).await;
        }
    }
    scene.comes_to("freed").await;
    assert_eq!(scene.verdict_on_machine().await, "NOT_ACTIVATED");
    scene.comes_to("revealed").await;
    let keys = scene.comes_to("keys").await["keys"].clone();
    assert_eq!((scene.is_good(&keys[0]).await, scene.is_good(&keys[1]).await), (json!(true), json!(false)));

    scene.api.change(|stripe| {
        stripe.change_card(&scene.customer, "visa", "9995");
        stripe.switch(&subscription, &PRO_MONTHLY, Billed::Later);
    });
    for step in ["told", "declined", "watching"] {
        scene.comes_to(step).await;
    }
    scene.stack.backend().kill();
    scene.comes_to("away").await;
    scene.stack.start_backends().await;
    for step in ["back", "end"] {
        scene.comes_to(step).await;
    }
    scene.api.delivered().await;
    let truth = scene.api.change(|stripe| stripe.clone());
    let state = scene.stack.customer(&scene.customer).await.expect("the customer is known");
    let mut differences = truth.differences(&scene.customer, &state);
    // Of the keys Stripe knows nothing.
    differences.retain(|difference| !difference.starts_with(".apiKeys"));
    assert!(differences.is_empty(), "{differences:?}");
    let logs = scene.stack.logs();
    assert!(!logs.contains(&scene.key) && !logs.contains("link="), "no log holds a key or a link");
});
