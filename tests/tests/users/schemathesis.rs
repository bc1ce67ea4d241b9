//! Whatever is asked, what is answered is in the OpenAPI document, and none of it is a fault of ours. What is asked
//! schemathesis makes up, from that document: good requests and bad ones; with time, ones that follow from earlier answers.

use std::fs;
use std::path::Path;

use http::Method;
use serde_json::Value;
use tokio::process::Command;
use tollgate_tests::{Engine, on_each_engine, python};

use crate::{Subscribed, call};

on_each_engine!(no_request_is_answered_by_what_is_not_documented, async |engine| {
    ask_whatever_comes_to_mind(engine, &[]).await;
});

mod long {
    use super::*;

    on_each_engine!(no_request_of_many_is_answered_by_what_is_not_documented, async |engine| {
        ask_whatever_comes_to_mind(engine, &["--phases", "coverage,fuzzing,stateful", "--max-examples", "100"]).await;
    });
}

async fn ask_whatever_comes_to_mind(engine: Engine, arguments: &[&str]) {
    let user = Subscribed::on(engine).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = folder.path().join("schemathesis.toml");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/schemathesis.toml");
    fs::copy(own, &config).expect("a file can be copied");
    fs::write(folder.path().join("known.txt"), known(&user).await).expect("a file can be written");

    let secrets = &user.stack.secrets;
    let shown = [
        ("USER_TOKEN", &*user.token()),
        ("ADMIN_KEY", secrets.of("ADMIN_API_KEY")),
        ("CRON_SECRET", secrets.of("CRON_SECRET")),
        ("INTERNAL_KEY", &secrets.internal),
    ];
    let output = Command::new(python::installed("schemathesis"))
        .arg("--config-file")
        .arg(&config)
        .args(["run", &user.stack.private("/openapi.json")])
        .args(arguments)
        .envs(shown)
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .expect("schemathesis can be started");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{}", said.join("\n"));
}

/// The names of things that there are, a line each.
async fn known(Subscribed { stack, customer, .. }: &Subscribed) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ids = |list: &Value| -> Vec<_> {
        list["data"].as_array().expect("a list").iter().map(|row| text(&row["id"])).collect()
    };
    let state = stack.customer(customer).await.expect("the customer is known");
    let events = stack.internal(Method::GET, "/v1/webhook-events?limit=3", String::new()).await.json();
    let plans = call(stack, &stack.bearer("user_1"), Method::GET, "/api/subscriptions/plans", None).await.json();
    let mut known = vec![customer.clone(), "cleanup-events".to_owned(), "retry-events".to_owned()];
    known.extend(["licenses", "apiKeys", "widgets"].map(|name| text(&state[name][0]["id"])));
    known.push(text(&state["licenses"][0]["key"]));
    known.extend(ids(&events));
    known.extend(ids(&plans));
    known.iter().flat_map(|name| ["\"", name, "\"\n"]).collect()
}
