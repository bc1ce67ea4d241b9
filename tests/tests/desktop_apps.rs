//! The app of `docs/desktop-apps.md`, as it stands there, through the relay: from nothing to activated, live, offline and
//! back.

use std::fs;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_tests::engines::{block_on, temporary_folder};
use tollgate_tests::node::{self, lend_packages};
use tollgate_tests::script::Script;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::catalogue::TEAM_MONTHLY;
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Holder, Stack, StackConfig, on_each_engine, wait_until};

/// The page's programs, each in its own file, beside what the page says to fetch before.
async fn app(stack: &Stack) -> TempDir {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/desktop-apps.md");
    let page = fs::read_to_string(page).expect("there is such a page");
    let folder = temporary_folder();
    for block in page.split("```js\n// ").skip(1) {
        let (code, _) = block.split_once("\n```").expect("a block of code ends");
        let (name, code) = code.split_once('\n').expect("its first line is its file's name");
        fs::write(folder.path().join(name), code).expect("a file can be written");
    }
    let keys = stack.http.get(&stack.public("/.well-known/jwks.json"), &[]).await;
    fs::write(folder.path().join("jwks.json"), keys.body).expect("a file can be written");
    lend_packages(folder.path());
    folder
}

/// `app.mjs`, on that machine.
fn start(folder: &TempDir, stack: &Stack, key: &str, machine: &str, call: Option<&str>) -> Script {
    let server = stack.public("");
    let arguments: Vec<_> = [&server, key, machine].into_iter().chain(call).collect();
    node::start(&folder.path().join("app.mjs"), &arguments)
}

async fn may_work(app: &mut Script, code: &str, tier: &str) -> Value {
    let what = format!("it may work, {code}, {tier}");
    let holds = |said: &Value| said["mayWork"] == true && said["code"] == code && said["tier"] == tier;
    app.next_where(&what, holds).await
}

async fn may_not_work(app: &mut Script, code: &str) {
    let what = format!("it may not work, {code}");
    app.next_where(&what, |said| said["mayWork"] == false && said["code"] == code).await;
}

async fn hears_of(app: &mut Script, event_type: &str) {
    app.next_where(event_type, |said| said["happened"] == event_type).await;
}

/// An operator's act.
async fn operate(stack: &Stack, key: &str, act: &str) {
    let url = stack.public("/api/license/validate");
    let body = json!({ "licenseKey": key, "machineId": "the operator's" }).to_string();
    let license = stack.http.post(&url, &[JSON], body).await.json()["license"]["id"].clone();
    let path = format!("/api/admin/licenses/{}/{act}", license.as_str().expect("it has an id"));
    let answer = stack.operate(Method::POST, &path, &json!({ "reason": "a test" })).await;
    assert_eq!(answer.status, 200, "{}", answer.error_code());
}

on_each_engine!(an_app_as_the_page_has_it_is_live_offline_and_back, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut holder = Holder::of(&stack).await;
    let folder = app(&stack).await;

    let mut app = start(&folder, &stack, &holder.key, "laptop", None);
    may_not_work(&mut app, "kept").await;
    may_not_work(&mut app, "not_activated").await;
    drop(app);
    let mut app = start(&folder, &stack, &holder.key, "laptop", Some("activate"));
    may_work(&mut app, "VALID", "pro").await;
    // It asks again once its stream has begun.
    may_work(&mut app, "VALID", "pro").await;
    holder.goes_on(&stack, |stripe, subscription| stripe.upgrade(subscription, &TEAM_MONTHLY)).await;
    hears_of(&mut app, "plan_changed").await;
    may_work(&mut app, "VALID", "team").await;

    let url = stack.public(&format!("/api/events/acknowledge?licenseKey={}", holder.key));
    let said = stack.http.get(&url, &[]).await.json();
    let statuses: Vec<_> = said["data"].as_array().expect("a list").iter().map(|said| &said["status"]).collect();
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == "processed"), "{said}");

    // Offline, and something happens meanwhile.
    drop(app);
    holder.takes(&stack, 2).await;
    stack.settled().await;
    stack.relay.kill();
    let mut app = start(&folder, &stack, &holder.key, "laptop", None);
    may_work(&mut app, "kept", "team").await;
    may_work(&mut app, "offline", "team").await;
    stack.start_relay().await;
    hears_of(&mut app, "subscription_updated").await;
    may_work(&mut app, "VALID", "team").await;

    operate(&stack, &holder.key, "revoke").await;
    hears_of(&mut app, "license_revoked").await;
    may_not_work(&mut app, "license_revoked").await;
    operate(&stack, &holder.key, "reinstate").await;
    hears_of(&mut app, "license_reinstated").await;
    may_work(&mut app, "VALID", "team").await;

    drop(app);
    let mut app = start(&folder, &stack, &holder.key, "laptop", Some("deactivate"));
    may_not_work(&mut app, "deactivate").await;
    assert!(!stack.logs().contains(&holder.key), "no log holds the key");
});

/// What the kept lease of `laptop` allows on another machine and at other times, and once somebody wrote another plan
/// into it.
const LEASES: &str = r#"
import { readFileSync, writeFileSync } from "node:fs";
import { openLicense } from "./license.mjs";

const licenseKey = process.argv[2];
const jwks = JSON.parse(readFileSync("jwks.json", "utf8"));
const kept = JSON.parse(readFileSync("license.json", "utf8"));
function good(lease, machineId, offset) {
  writeFileSync("copy.json", JSON.stringify({ ...kept, lease }));
  const options = { server: "http://127.0.0.1:1", jwks, file: "copy.json", licenseKey, machineId, changed() {} };
  const license = openLicense(options);
  license.close();
  return license.lease(Date.now() / 1000 + offset) !== null;
}
const day = 86_400, [head, claims, signature] = kept.lease.split(".");
const forged = JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url")), tier: "enterprise" });
console.log(JSON.stringify({
  here: good(kept.lease, "laptop", 0),
  almostAtItsEnd: good(kept.lease, "laptop", 6 * day),
  onAnotherMachine: good(kept.lease, "desktop", 0),
  afterItsEnd: good(kept.lease, "laptop", 8 * day),
  beforeItWasMade: good(kept.lease, "laptop", -day),
  forged: good([head, Buffer.from(forged).toString("base64url"), signature].join("."), "laptop", 0),
}));
"#;

#[test]
fn a_lease_is_good_on_its_machine_and_in_its_time_alone() {
    block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite)).await;
        let holder = Holder::of(&stack).await;
        let folder = app(&stack).await;
        let mut app = start(&folder, &stack, &holder.key, "laptop", Some("activate"));
        may_work(&mut app, "VALID", "pro").await;
        drop(app);
        fs::write(folder.path().join("leases.mjs"), LEASES).expect("a file can be written");
        let said =
            node::start(&folder.path().join("leases.mjs"), &[&holder.key]).next().await.expect("it says something");
        let expected = json!({
            "here": true, "almostAtItsEnd": true,
            "onAnotherMachine": false, "afterItsEnd": false, "beforeItWasMade": false, "forged": false,
        });
        assert_eq!(said, expected);
    });
}

/// An app that cannot do what an event asks of it.
const FAILING: &str = r#"
import { readFileSync } from "node:fs";
import { openLicense } from "./license.mjs";

const [server, licenseKey, machineId] = process.argv.slice(2);
const show = (what) => console.log(JSON.stringify(what));
const license = openLicense({
  server, licenseKey, machineId, file: "license.json", jwks: JSON.parse(readFileSync("jwks.json", "utf8")),
  changed: (lease, code) => show({ code }),
  happened() { throw new Error("the disk is full"); },
});
await license.ask("activate");
"#;

#[test]
fn what_an_app_cannot_do_is_acknowledged_as_a_failure() {
    block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite)).await;
        let mut holder = Holder::of(&stack).await;
        let folder = app(&stack).await;
        let failing = folder.path().join("failing.mjs");
        fs::write(&failing, FAILING).expect("a file can be written");
        let mut app = node::start(&failing, &[&stack.public(""), &holder.key, "laptop"]);
        // By its activation, and once its stream has begun.
        for _ in 0..2 {
            app.next_where("it may work", |said| said["code"] == "VALID").await;
        }
        holder.takes(&stack, 2).await;
        let url = stack.public(&format!("/api/events/acknowledge?licenseKey={}", holder.key));
        let failed = async || stack.http.get(&url, &[]).await.json()["data"][0]["status"] == "failed";
        wait_until("it was said to have failed", SOON, failed).await;
    });
}

#[test]
fn an_app_with_a_key_that_nobody_has_is_told_so() {
    block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Sqlite)).await;
        let folder = app(&stack).await;
        let mut app = start(&folder, &stack, "23456-NOBODY", "laptop", Some("activate"));
        may_not_work(&mut app, "license_not_found").await;
    });
}
