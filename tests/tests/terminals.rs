//! Machines of one licence, which tell each other something through both tiers.

use serde_json::{Value, json};
use tollgate_tests::stack::JSON;
use tollgate_tests::{EventSource, Holder, Stack, StackConfig, on_each_engine};

/// What a machine says, with its licence's key.
async fn say(stack: &Stack, holder: &Holder, machine: &str, path: &str, mut body: Value) -> Value {
    body["licenseKey"] = json!(holder.key);
    body["machineId"] = json!(machine);
    let answer = stack.http.post(&stack.public(path), &[JSON], body.to_string()).await;
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.error_code());
    answer.json()
}

fn stream(stack: &Stack, holder: &Holder, machine: &str, last: Option<&str>) -> EventSource {
    EventSource::open(&format!("{}?machineId={machine}", holder.url(stack)), last)
}

on_each_engine!(machines_of_a_licence_hear_each_other_and_what_they_missed, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let holder = Holder::of(&stack).await;
    let mut machines = Vec::new();
    for machine in ["a", "b", "c"] {
        machines.push(say(&stack, &holder, machine, "/api/license/activate", json!({})).await["machine"]["id"].clone());
    }
    let (mut a, mut b) = (stream(&stack, &holder, "a", None), stream(&stack, &holder, "b", None));
    a.next_named("connected").await;
    b.next_named("connected").await;
    let mut c = stream(&stack, &holder, "c", None);
    let seen = c.next_named("connected").await.id;
    drop(c);

    let body = json!({ "event": "hello", "payload": { "text": "to all" } });
    let told = say(&stack, &holder, "a", "/api/terminals/broadcast", body).await;
    for source in [&mut a, &mut b] {
        let heard = source.next_named("broadcast").await;
        assert_eq!(heard.data["id"], told["events"][0]["eventId"]);
        assert_eq!(heard.data["data"]["broadcast"]["from"], machines[0]);
    }
    let mut c = stream(&stack, &holder, "c", seen.as_deref());
    assert_eq!(c.next_named("broadcast").await.data["id"], told["events"][0]["eventId"]);

    let sync = json!({ "syncType": "settings", "payload": { "theme": "dark" } });
    let sync = say(&stack, &holder, "a", "/api/terminals/sync", sync).await;
    for (machine, source, status) in [("b", &mut b, "processed"), ("c", &mut c, "failed")] {
        let heard = source.next_named("state_sync").await;
        assert_eq!(heard.data["data"]["sync"]["payload"]["theme"], "dark");
        let answer = json!({ "eventId": heard.data["id"], "status": status, "error": "disk full" });
        say(&stack, &holder, machine, "/api/events/acknowledge", answer).await;
    }
    let path = format!(
        "/api/terminals/sync/{}?licenseKey={}&machineId=a",
        sync["id"].as_str().expect("it has one"),
        holder.key
    );
    let done = stack.http.get(&stack.public(&path), &[]).await.json();
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!((&done["targets"][0]["status"], &done["targets"][1]["status"]), (&json!("processed"), &json!("failed")));

    assert!(!stack.logs().contains(&holder.key), "no log holds the key");
});
