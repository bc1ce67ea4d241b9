//! Releases through both tiers, to installed apps that update themselves by electron-updater.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::node::{self, packages, programs};
use tollgate_tests::{Holder, Stack, StackConfig, on_each_engine};

/// Ids of installations: of all, 0.02 and 99.6 per cent come before them.
const EARLY: &str = "6ba7b810-9dad-51d1-80b4-00c000100000";
const LATE: &str = "6ba7b810-9dad-51d1-80b4-00c0ff000000";

async fn node(arguments: &[&str]) -> Value {
    packages();
    let mut node = node::start(&programs().join("updater.js"), arguments);
    node.next().await.expect("it says what came of it")
}

/// What electron-builder leaves of a version, in a folder of its own.
async fn build(stack: &Stack, version: &str) -> PathBuf {
    let folder = stack.path(&format!("app-{version}"));
    node(&["build", text(&folder), version]).await;
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// `tollgate-backend release …`; what it prints.
fn release(stack: &Stack, arguments: &[&str]) -> String {
    let done = stack.backends[0].command(&[&["release"], arguments].concat());
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("it prints text")
}

/// An app of that version looks for an update, and takes it.
async fn update(stack: &Stack, from: &Path, version: &str, id: &str, key: &str) -> Value {
    node(&["update", &stack.public("/api/releases/"), text(from), version, id, key]).await
}

async fn stack(config: StackConfig) -> Stack {
    let mut stack = Stack::prepare(config).await;
    let folder = stack.path("releases");
    stack.backend().set("RELEASES_DIR", text(&folder));
    stack.start().await;
    stack
}

on_each_engine!(apps_update_themselves_as_a_release_is_rolled_out, async |engine| {
    let stack = stack(StackConfig::on(engine)).await;
    let [first, second] = [build(&stack, "1.0.0").await, build(&stack, "1.1.0").await];
    assert!(release(&stack, &["publish", text(&first)]).contains("latest 1.0.0 published 100%"));
    for _ in 0..2 {
        assert!(release(&stack, &["publish", text(&second), "--rollout", "10"]).contains("latest 1.1.0 published 10%"));
    }
    let outside = update(&stack, &first, "1.0.0", LATE, "").await;
    assert_eq!((&outside["isAvailable"], &outside["version"]), (&json!(false), &json!("1.0.0")), "{outside}");
    let inside = update(&stack, &first, "1.0.0", EARLY, "").await;
    assert_eq!((&inside["isAvailable"], &inside["version"]), (&json!(true), &json!("1.1.0")), "{inside}");
    assert_eq!(inside["notes"], "# What is new\n\n- <b>it</b>: \"this\"\n- that\u{7f}\u{85}\u{2028}");
    let built = fs::read_to_string(second.join("latest-linux.yml"))
        .or_else(|_| fs::read_to_string(second.join("latest-linux-arm64.yml")));
    let sha512 = inside["sha512"].as_str().expect("it has one");
    assert!(built.expect("it was built").contains(sha512), "{inside}");
    // Only what changed was fetched, all of it at once.
    assert_eq!(inside["said"], json!([]), "{inside}");
    let answers = inside["answers"].as_array().expect("a list");
    let parts: Vec<_> = answers.iter().filter(|answer| answer["type"] == "multipart/byteranges").collect();
    assert_eq!((parts.len(), &parts[0]["status"]), (1, &json!(206)), "{inside}");
    let bytes: u64 = answers.iter().filter_map(|answer| answer["bytes"].as_u64()).sum();
    assert!(bytes < 700_000, "{bytes} of 1,646,417 bytes");

    release(&stack, &["rollout", "1.1.0", "100"]);
    assert_eq!(update(&stack, &first, "1.0.0", LATE, "").await["version"], "1.1.0");
    let found = stack.http.get(&stack.public("/api/releases/latest"), &[]).await.json();
    let url = found["downloads"][0]["url"].as_str().expect("it has one").to_owned();
    let whole = stack.http.get(&url, &[]).await;
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
    assert_eq!(whole.header("content-length"), Some(&*whole.body.len().to_string()));

    // Somebody changes it on disk: nobody gets a byte of it any more.
    let of_second = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with("-app-1.1.0.AppImage");
    let folder = fs::read_dir(stack.path("releases")).expect("it is there").flatten();
    let path = folder.filter(of_second).map(|entry| entry.path()).next().expect("it was stored");
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[1000] ^= 1;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    fs::write(&path, &bytes).expect("it can be written");
    for range in ["", "bytes=0-9", "bytes=0-9,100-109"] {
        let refused = stack.http.get(&url, &[("Range", range)]).await;
        assert_eq!((refused.status, refused.error_code()), (500, "internal_error".to_owned()), "{range}");
    }
    let refused = update(&stack, &first, "1.0.0", LATE, "").await;
    assert_eq!(refused["sha512"], Value::Null, "{refused}");
    assert!(refused["error"].is_string(), "{refused}");

    release(&stack, &["withdraw", "1.1.0", "--reason", "it crashes"]);
    assert_eq!(update(&stack, &first, "1.0.0", EARLY, "").await["version"], "1.0.0");
    let list = release(&stack, &["list"]);
    assert!(list.contains("1.1.0 withdrawn") && list.contains("1.0.0 published"), "{list}");
    let trail = stack.operate(Method::GET, "/api/admin/audit?action=release.withdraw", &Value::Null).await.json();
    assert_eq!(trail["data"][0]["reason"], "it crashes");
});

on_each_engine!(a_release_for_who_has_a_licence_is_for_nobody_else, async |engine| {
    let stack = stack(StackConfig::on(engine).backend("RELEASES_ACCESS", "licensed")).await;
    let holder = Holder::of(&stack).await;
    let [first, second, third] =
        [build(&stack, "1.0.0").await, build(&stack, "1.1.0").await, build(&stack, "2.0.0").await];
    release(&stack, &["publish", text(&first)]);
    release(&stack, &["publish", text(&second), "--tier", "pro", "--tier", "team"]);
    release(&stack, &["publish", text(&third), "--tier", "enterprise"]);
    let refused = update(&stack, &first, "1.0.0", EARLY, "").await;
    assert_eq!(refused["status"], 401, "{refused}");
    let refused = update(&stack, &first, "1.0.0", EARLY, "23456-789AB-CDEFG-HJKLM-NPQRH").await;
    assert_eq!(refused["status"], 401, "{refused}");
    let updated = update(&stack, &first, "1.0.0", EARLY, &holder.key).await;
    assert_eq!((&updated["version"], &updated["said"]), (&json!("1.1.0"), &json!([])), "{updated}");

    let shown = format!("License {}", holder.key);
    let found = stack.http.get(&stack.public("/api/releases/latest"), &[("Authorization", &shown)]).await.json();
    assert_eq!(found["version"], "1.1.0", "{found}");
    let url = found["downloads"][0]["url"].as_str().expect("it has one");
    assert_eq!(stack.http.get(url, &[]).await.status, 200, "its token opens it");
    let (bare, _) = url.split_once('?').expect("it has a token");
    let refused = stack.http.get(bare, &[]).await;
    assert_eq!((refused.status, refused.error_code()), (401, "license_required".to_owned()));
    let others = bare.replace("1.1.0", "2.0.0");
    let refused = stack.http.get(&others, &[("Authorization", &shown)]).await;
    assert_eq!((refused.status, refused.error_code()), (403, "not_entitled".to_owned()));
    assert!(!stack.logs().contains(&holder.key), "no log holds the key");
});
