//! Clients that are made of the OpenAPI document, in two languages: they compile, and get on with the backend.

use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::header::HeaderMap;
use rustls::crypto::ring;
use serde_json::json;
use tempfile::TempDir;
use tollgate_test_client::{Client, Error, types};
use tollgate_tests::node;
use tollgate_tests::on_each_engine;
use tollgate_tests::process::on_path;

use crate::Subscribed;

/// The plan that is changed to.
const TEAM: &str = "team_monthly";

on_each_engine!(a_typescript_client_made_of_the_document_gets_on, async |engine| {
    let user = Subscribed::on(engine).await;
    let folder = typescript_client();
    let arguments = [&*user.stack.public(""), &user.token(), TEAM];
    let mut client = node::start(&folder.path().join("client.js"), &arguments);
    let mut said = Vec::new();
    while let Some(line) = client.next().await {
        said.push(line);
    }
    let plans = said[0]["plans"].as_array().expect("it lists plans");
    assert!(plans.contains(&TEAM.into()), "{said:?}");
    let expected = [
        json!({ "tier": "pro", "status": "active" }),
        json!({ "planId": TEAM, "pending": false }),
        json!({ "refused": "same_plan" }),
        json!({ "key": true, "ended": 204 }),
    ];
    assert_eq!(said[1..], expected);
});

on_each_engine!(a_rust_client_made_of_the_document_gets_on, async |engine| {
    let user = Subscribed::on(engine).await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", user.stack.bearer("user_1").parse().expect("a token is text"));
    // That a client can be made at all; what it speaks to has no TLS.
    let _ = ring::default_provider().install_default();
    let http = reqwest::Client::builder().default_headers(headers).no_proxy().tls_certs_only([]);
    let http = http.build().expect("a client can be made");
    let client = Client::new_with_client(&user.stack.public(""), http);

    let plans = client.get_subscriptions_plans(None, None).await.expect("it lists plans").into_inner();
    assert!(plans.data.iter().any(|plan| plan.id == TEAM), "{plans:?}");
    let current = client.get_subscriptions_current().await.expect("there is one").into_inner();
    let status = current.subscription.and_then(|subscription| subscription.status);
    assert_eq!((&*current.tier, status.as_deref()), ("pro", Some("active")));
    let team = types::PlanChange { plan_id: TEAM.to_owned(), proration_date: None };
    let key = "a change".parse().expect("it is a key");
    let changed = client.post_subscriptions_change_plan(Some(&key), &team).await.expect("it is changed").into_inner();
    assert_eq!((changed.subscription.plan_id.as_deref(), changed.pending), (Some(TEAM), false));
    match client.post_subscriptions_change_plan(None, &team).await {
        Err(Error::ErrorResponse(refused)) => {
            assert_eq!((refused.status().as_u16(), &*refused.error.code), (409, "same_plan"));
        }
        other => panic!("it is on that plan already: {other:?}"),
    }
    let made = client.post_api_keys(None, &types::NewApiKey { name: Some("a key".to_owned()) }).await;
    let made = made.expect("a key is made").into_inner();
    let ended = client.delete_api_keys_by_id(&made.id).await.expect("it ends");
    assert_eq!((made.key.is_empty(), ended.status().as_u16()), (false, 204));
});

/// A folder with `tests/node/client.ts`, compiled against what is made of the document.
fn typescript_client() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    node::lend_packages(folder.path());
    fs::copy(node::programs().join("client.ts"), folder.path().join("client.ts")).expect("a file can be copied");
    let options = json!({
        "compilerOptions": {
            "strict": true,
            "target": "es2022",
            "module": "nodenext",
            "lib": ["es2022", "dom"],
            "types": [],
            // Of the packages: what is made of the document is no such file.
            "skipLibCheck": true,
        },
    });
    fs::write(folder.path().join("tsconfig.json"), options.to_string()).expect("a file can be written");
    fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).expect("a file can be written");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document = document.to_str().expect("the tree's path is UTF-8");
    run(folder.path(), "openapi-typescript/bin/cli.js", &[document, "--output", "api.ts"]);
    run(folder.path(), "typescript/bin/tsc", &[]);
    folder
}

/// Runs a program of `tests/node`'s packages in `folder`.
fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(on_path("node", "nodejs"))
        .arg(node::packages().join(program))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("node can be started");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{program}: {said:?}");
}
