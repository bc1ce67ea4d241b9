//! The console in a real browser, with both tiers behind it.

use chrono::Duration;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Clock;
use tollgate_shared::clock::rfc3339;
use tollgate_tests::node::{self, packages, pictures, programs};
use tollgate_tests::script::Script;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::catalogue::{PRO_MONTHLY, STORAGE_ADDON};
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Event, Stripe};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig, engines, on_each_engine, wait_until};

use super::{judge, looked_up};

/// A program of `tests/node/console`, which is told where the console is.
pub(super) fn program(name: &str, stack: &Stack, mut told: Value) -> Script {
    packages();
    told["base"] = stack.private("").into();
    told["pictures"] = pictures().into();
    node::start(&programs().join("console").join(name), &[&told.to_string()])
}

pub(super) async fn call(stack: &Stack, path: &str, user: Option<&str>, body: Value) -> Value {
    let mut headers = vec![JSON];
    headers.extend(user.map(|user| ("authorization", user)));
    let answer = stack.http.post(&stack.public(path), &headers, body.to_string()).await;
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.error_code());
    answer.json()
}

/// An event like another, that no rule can read.
fn spoilt(event: &Event, id: &str, customer: Value) -> Event {
    let mut json = event.json();
    json["id"] = id.into();
    json["data"]["object"]["customer"] = customer;
    json["data"]["object"]["status"] = json!({ "not": "a status" });
    Event::of(&json)
}

fn of_type<'a>(events: &'a [Event], event_type: &str) -> &'a Event {
    events.iter().rev().find(|event| event.event_type == event_type).expect("it happened")
}

pub(super) async fn license_key(stack: &Stack, customer: &str) -> Value {
    let state = stack.customer(customer).await.expect("the customer is known");
    state["licenses"][0]["key"].clone()
}

/// What signs an operator in who is called Grace.
pub(super) fn link(stack: &Stack) -> String {
    let printed = stack.backends[0].command(&["console-link", "--name", "grace"]);
    String::from_utf8(printed.stdout).expect("an address is text").trim().to_owned()
}

/// Two subscribers, of whom the first one's events went through, and something was in the second one's way.
struct Scene {
    stack: Stack,
    customer: String,
    failed: Event,
    browser: Script,
}

const LETTER_TYPE: &str = "customer.subscription.paused";

impl Scene {
    async fn on(engine: Engine) -> Self {
        let stack = Stack::spawn(StackConfig::on(engine)).await;
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp() - DAY;
        let bob = stripe.sign_up("bob@example.com", "Bob", Some("user_2"));
        stripe.checkout(&bob, &Checkout::of(&PRO_MONTHLY));
        // Of what she pays for no plan knows.
        let carol = stripe.sign_up("carol@example.com", "Carol", Some("user_3"));
        stripe.checkout(&carol, &Checkout::of(&STORAGE_ADDON));
        let before = stripe.events(ApiVersion::Endive);
        stack.tell(&before).await;

        stack.database.execute("CREATE UNIQUE INDEX in_the_way ON subscriptions (plan_id)").await;
        let ada = stripe.sign_up("ada@example.com", "Ada Lovelace", Some("user_1"));
        stripe.checkout(&ada, &Checkout::of(&PRO_MONTHLY));
        let events = stripe.events_since(before.len(), ApiVersion::Endive);
        let failed = of_type(&events, "customer.subscription.updated").clone();
        // What else came with it would bring the same.
        let told: Vec<_> = events
            .into_iter()
            .filter(|event| event.event_type == "customer.created" || event.id == failed.id)
            .collect();
        stack.tell(&told).await;
        let mut letter = spoilt(&failed, "evt_made_by_hand", json!(ada)).json();
        letter["type"] = LETTER_TYPE.into();
        stack.tell(&[Event::of(&letter)]).await;
        stack.database.execute("DROP INDEX in_the_way").await;

        judge(&stack).await;
        let user = stack.bearer("user_1");
        let ticket = json!({ "subject": "Where is my licence?", "message": "I have paid.", "category": "billing" });
        call(&stack, "/api/support", Some(&user), ticket).await;
        let told = json!({
            "link": link(&stack),
            "customer": { "id": ada, "email": "ada@example.com", "name": "Ada Lovelace" },
            "failed": { "id": failed.id },
            "letter": { "type": LETTER_TYPE },
        });
        let browser = program("story.js", &stack, told);
        Self { stack, customer: ada, failed, browser }
    }

    /// Waits until the browser has come so far, and has seen nothing wrong with the page.
    async fn comes_to(&mut self, step: &str) {
        let said = self.browser.next_where(step, |_| true).await;
        assert_eq!((&said["step"], &said["faults"]), (&json!(step), &json!([])), "{said}");
    }
}

on_each_engine!(an_operator_mends_it_at_the_console_by_keyboard_alone, async |engine| {
    let mut scene = Scene::on(engine).await;
    for step in ["signed in", "searched", "customer", "event", "dry run"] {
        scene.comes_to(step).await;
    }
    assert_eq!(scene.stack.event(&scene.failed.id).await.expect("it is kept")["status"], "dead_lettered");
    for step in ["asked", "replayed"] {
        scene.comes_to(step).await;
    }
    assert_eq!(scene.stack.event(&scene.failed.id).await.expect("it is kept")["status"], "processed");
    for step in ["resolved", "watching"] {
        scene.comes_to(step).await;
    }
    let key = license_key(&scene.stack, &scene.customer).await;
    let machine = json!({ "licenseKey": key, "machineId": "a machine", "machineName": "Ada's <b>laptop</b>" });
    call(&scene.stack, "/api/license/activate", None, machine.clone()).await;
    scene.comes_to("freed").await;
    let verdict = call(&scene.stack, "/api/license/validate", None, machine).await;
    assert_eq!(verdict["code"], "NOT_ACTIVATED");
    for step in ["answered", "keys", "audit", "signed out", "end"] {
        scene.comes_to(step).await;
    }
    let letters = looked_up(&scene.stack, "/api/dlq?status=open").await;
    assert_eq!(letters["data"], json!([]));
    let acts = looked_up(&scene.stack, "/api/admin/audit?actor=console:grace&limit=100").await;
    let reasons: Vec<_> = acts["data"].as_array().expect("a list").iter().map(|act| &act["reason"]).collect();
    for reason in ["The index is gone that was in its way", "Made by hand; nothing of it is true", "She has sold it"] {
        assert!(reasons.contains(&&json!(reason)), "{reason}: {acts}");
    }
    let logs = scene.stack.logs();
    assert!(!logs.contains("link="), "no log holds a link");
    let mut asked_again = logs.lines().filter(|line| line.contains("answered GET /api/admin/stats with 200"));
    assert!(asked_again.all(|line| line.contains("DEBUG")), "that a page is open is no news every few seconds");
});

#[test]
fn each_missing_step_is_named_with_what_mends_it() {
    engines::block_on(async {
        let mut program = node::start(&programs().join("console").join("way.js"), &[]);
        assert_eq!(program.next().await, Some(json!({ "moments": 7 })));
    });
}

/// What would run if it became HTML, an attribute or a script.
const HOSTILE: &str = r#"<img src=x onerror="hostile()">"'><script>hostile()</script>javascript:hostile()"#;

/// A deployment of which everything that comes from outside is hostile; and the pages that show it.
async fn hostile_pages(stack: &Stack) -> Value {
    let mut stripe = Stripe::fresh();
    stripe.now = Clock::system().now().timestamp() - DAY;
    let customer = stripe.sign_up(&format!("{HOSTILE}@example.com"), HOSTILE, Some("user_1"));
    stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
    let events = stripe.events(ApiVersion::Endive);
    stack.tell(&events).await;
    let mut hostile = spoilt(of_type(&events, "customer.subscription.created"), HOSTILE, json!(customer)).json();
    hostile["type"] = HOSTILE.into();
    hostile["api_version"] = HOSTILE.into();
    let mut letter = spoilt(of_type(&events, "customer.subscription.created"), "evt_poison", json!(customer)).json();
    letter["data"]["object"][HOSTILE] = HOSTILE.into();
    stack.tell(&[Event::of(&hostile), Event::of(&letter)]).await;

    let key = license_key(stack, &customer).await;
    let machine = json!({
        "licenseKey": key, "machineId": HOSTILE, "machineName": HOSTILE, "platform": HOSTILE, "appVersion": HOSTILE,
    });
    call(stack, "/api/license/activate", None, machine).await;
    let missed = stack.public(&format!("/api/events/{}/missed?since=0", key.as_str().expect("a text")));
    let told = stack.http.get(&missed, &[]).await.json()["data"][0]["id"].clone();
    let failed =
        json!({ "licenseKey": key, "machineId": HOSTILE, "eventId": told, "status": "failed", "error": HOSTILE });
    call(stack, "/api/events/acknowledge", None, failed).await;
    let user = stack.bearer("user_1");
    let ticket = json!({ "subject": HOSTILE, "message": HOSTILE });
    let ticket = call(stack, "/api/support", Some(&user), ticket).await["id"].clone();
    let at = Clock::system().now() + Duration::days(7);
    let pod = json!({
        "name": HOSTILE, "description": HOSTILE, "amount": 5000, "currency": "ngn", "cadence": "monthly",
        "firstContributionDate": rfc3339(at), "maxMembers": 12,
    });
    let pod = operate(stack, "/api/admin/pods", pod).await["id"].clone();
    let release = json!({
        "version": "1.0.0", "channel": "latest", "name": HOSTILE, "notes": HOSTILE, "tiers": ["pro"],
        "files": [{ "name": "app.exe", "platform": "win", "arch": "x64", "size": 3, "sha512": "A".repeat(86) + "==" }],
    });
    let release = operate(stack, "/api/admin/releases", release).await["id"].clone();
    let license = stack.customer(&customer).await.expect("it is known")["licenses"][0]["id"].clone();
    operate(stack, &format!("/api/admin/licenses/{}/revoke", text(&license)), json!({ "reason": HOSTILE })).await;
    let created = of_type(&events, "customer.subscription.created").id.clone();
    let one = |name: &str, path: String| json!({ "name": name, "path": path });
    json!([
        one("overview", "/console".to_owned()),
        one("events", "/console/events".to_owned()),
        one("event", format!("/console/events/{created}")),
        one("event-hostile", format!("/console/events/{}", escaped(HOSTILE))),
        json!({ "name": "event-payload", "path": "/console/events/evt_poison", "press": ["Show the payload"] }),
        one("replay", format!("/console/replay?id={created}")),
        one("dead-letters", "/console/dead-letters".to_owned()),
        json!({ "name": "dead-letter-resolve", "path": "/console/dead-letters", "press": ["Tick all", "Resolve"] }),
        one("customers", "/console/customers".to_owned()),
        one("customer", format!("/console/customers/{customer}")),
        one("licences", "/console/licenses".to_owned()),
        json!({ "name": "licence", "path": format!("/console/licenses/{}", text(&license)), "press": ["Show the key"] }),
        one("pods", "/console/pods".to_owned()),
        one("pod", format!("/console/pods/{}", text(&pod))),
        one("support", "/console/support".to_owned()),
        one("ticket", format!("/console/support/{}", text(&ticket))),
        one("releases", "/console/releases".to_owned()),
        one("release", format!("/console/releases/{}", text(&release))),
        one("messages", "/console/messages".to_owned()),
        one("charts", "/console/charts".to_owned()),
        one("alerts", "/console/alerts".to_owned()),
        one("cron", "/console/cron".to_owned()),
        one("audit", "/console/audit".to_owned()),
        json!({ "name": "keys", "path": "/console", "opens": "?" }),
        json!({ "name": "search", "path": "/console", "opens": "/" }),
        one("nowhere", "/console/events/evt_of_nobody".to_owned()),
    ])
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).expect("it is below 16").to_ascii_uppercase()
}

fn escaped(text: &str) -> String {
    text.bytes().flat_map(|byte| ['%', hex(byte >> 4), hex(byte & 15)]).collect()
}

async fn operate(stack: &Stack, path: &str, body: Value) -> Value {
    let response = stack.operate(Method::POST, path, &body).await;
    assert!((200..300).contains(&response.status), "{path}: {}", response.error_code());
    response.json()
}

#[test]
fn no_text_from_outside_runs_on_any_page_of_the_console() {
    engines::block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite)).await;
        let pages = hostile_pages(&stack).await;
        let letters = async || looked_up(&stack, "/api/dlq?status=open").await["data"].clone();
        wait_until("what failed is a dead letter", SOON, async || letters().await.as_array().unwrap().len() == 2).await;
        let letter = letters().await[0]["id"].clone();
        let told = json!({ "key": stack.secrets.of("ADMIN_API_KEY"), "pages": pages, "letter": letter });
        let mut browser = program("pages.js", &stack, told);
        let (mut seen, mut faults) = (0, Vec::new());
        loop {
            let said = browser.next_where("what is wrong with a page", |_| true).await;
            if said["page"].is_null() {
                break;
            }
            seen += 1;
            if said["faults"] != json!([]) {
                faults.push(said);
            }
        }
        assert_eq!(faults, Vec::<Value>::new());
        assert!(seen > 2 * pages.as_array().expect("a list").len(), "{seen}");
        // From other origins nothing was changed.
        assert_eq!(letters().await.as_array().unwrap().len(), 2);
    });
}
