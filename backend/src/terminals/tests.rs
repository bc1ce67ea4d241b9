//! Terminals through Rocket's local client, on both engines.

use std::time::Duration;

use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};

use crate::licenses::last_seen;
use crate::on_each_engine;
use crate::testing::{TestApp, TestResponse, assert_only_for_users, signed_in};

const BROADCAST: &str = "/api/terminals/broadcast";
const SYNC: &str = "/api/terminals/sync";

/// A licence of `user_1` with machines that hold seats.
struct Site {
    app: TestApp,
    license_id: String,
    key: String,
    /// The ids of `a`, `b` and `c`.
    machines: [String; 3],
}

impl Site {
    async fn on(db: tollgate_db::Db) -> Self {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let license = app.get("/v1/customers/cus_1").await.json()["licenses"][0].take();
        let text = |name: &str| license[name].as_str().unwrap().to_owned();
        let (license_id, key) = (text("id"), text("key"));
        let mut machines = Vec::new();
        for name in ["a", "b", "c"] {
            let body = json!({ "licenseKey": key, "machineId": name, "platform": "linux", "appVersion": "1.0" });
            let activated = app.post("/api/license/activate", &body).await.json();
            machines.push(activated["machine"]["id"].as_str().unwrap().to_owned());
            app.inner.clock.advance(Duration::from_secs(1));
        }
        Self { app, license_id, key, machines: machines.try_into().unwrap() }
    }

    /// A POST of JSON by `user_1`.
    async fn tell(&self, path: &str, body: &Value) -> TestResponse {
        self.tell_as(Some(signed_in("user_1", "user")), path, body).await
    }

    /// The same by a machine.
    async fn tell_from(&self, machine: &str, path: &str, mut body: Value) -> TestResponse {
        body["licenseKey"] = json!(self.key);
        body["machineId"] = json!(machine);
        self.tell_as(None, path, &body).await
    }

    async fn tell_as(&self, shown: Option<Header<'static>>, path: &str, body: &Value) -> TestResponse {
        let mut request = self.app.client.post(path.to_owned()).header(ContentType::JSON).body(body.to_string());
        if let Some(shown) = shown {
            request.add_header(shown);
        }
        TestResponse::of(request).await
    }

    /// A machine shows that it is there, which is written.
    async fn beat(&self, machine: &str) {
        let body = json!({ "licenseKey": self.key, "machineId": machine });
        assert_eq!(self.app.post("/api/license/heartbeat", &body).await.status, 200);
        last_seen::write(&self.app.inner).await.unwrap();
    }

    async fn acknowledge(&self, event: &Value, machine: &str, status: &str) {
        let body = json!({
            "eventId": event, "licenseKey": self.key, "machineId": machine, "status": status, "error": "disk full",
        });
        assert_eq!(self.app.post("/api/events/acknowledge", &body).await.status, 200);
    }

    async fn events(&self, event_type: &str) -> Vec<Value> {
        let missed = TestResponse::of(self.app.client.get(format!("/api/events/{}/missed?limit=1000", self.key))).await;
        let mut events = missed.json()["data"].as_array().unwrap().clone();
        events.retain(|event| event["type"] == event_type);
        events
    }
}

#[test]
fn a_user_sees_machines_with_their_sessions() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.beat("a").await;
        site.app.inner.clock.advance(Duration::from_secs(90));
        site.beat("b").await;
        let list = site.app.see("/api/terminals?limit=2").await.json();
        let shown = |list: &Value| {
            let row = |row: &Value| (row["id"].clone(), row["connected"].clone(), row["session"]["status"].clone());
            list["data"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
        };
        let [a, b, c] = site.machines.clone().map(Value::from);
        assert_eq!(shown(&list), [(c, json!(false), Value::Null), (b.clone(), json!(true), json!("connected"))]);
        let path = format!("/api/terminals?limit=2&cursor={}", list["nextCursor"].as_str().unwrap());
        let rest = site.app.see(&path).await.json();
        assert_eq!(shown(&rest), [(a.clone(), json!(false), json!("suspect"))]);
        assert_eq!(rest["data"][0]["licenseId"], *site.license_id);

        let sessions = site.app.see("/api/terminal-sessions").await.json();
        let machines: Vec<_> = sessions["data"].as_array().unwrap().iter().map(|row| &row["machineId"]).collect();
        assert_eq!(machines, [&b, &a]);
        assert_eq!(sessions["data"][0]["transport"], "heartbeat");
        assert_eq!(sessions["data"][0]["appVersion"], "1.0");
        let stats = site.app.see("/api/terminal-sessions?stats=true").await.json();
        let expected = json!({
            "connected": 1, "suspect": 1, "stale": 0, "byVersion": { "1.0": 2 }, "byPlatform": { "linux": 2 },
        });
        assert_eq!(stats, expected);
    });
}

#[test]
fn sessions_are_listed_by_their_status_and_ended_ones_for_a_month() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.beat("a").await;
        site.app.inner.clock.advance(Duration::from_secs(600));
        site.beat("b").await;
        site.beat("c").await;
        let given_up = json!({ "licenseKey": site.key, "machineId": "b" });
        assert_eq!(site.app.post("/api/license/deactivate", &given_up).await.status, 200);
        let [a, b, c] = &site.machines;
        for (status, machine) in [("stale", a), ("ended", b), ("connected", c)] {
            let path = format!("/api/terminal-sessions?status={status}&licenseId={}", site.license_id);
            let list = site.app.see(&path).await.json();
            assert_eq!(list["data"].as_array().unwrap().len(), 1, "{status} {list}");
            assert_eq!((&list["data"][0]["machineId"], &list["data"][0]["status"]), (&json!(machine), &json!(status)));
        }
        assert!(site.app.see("/api/terminal-sessions?status=ended").await.json()["data"][0]["endedAt"].is_string());
        site.app.inner.clock.advance(Duration::from_secs(30 * 86_400 + 1));
        let query = format!("licenseKey={}&machineId=c", site.key);
        let path = format!("/api/terminal-sessions?status=ended&{query}");
        let list = TestResponse::of(site.app.client.get(path)).await.json();
        assert_eq!(list["data"], json!([]));
        let odd = TestResponse::of(site.app.client.get(format!("/api/terminal-sessions?status=odd&{query}"))).await;
        assert_eq!(odd.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("status".to_owned())));
    });
}

#[test]
fn what_a_user_tells_stands_in_the_licences_log() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.beat("a").await;
        let body = json!({ "event": "theme.changed", "payload": { "dark": true, "text": "<b>" } });
        let told = site.tell(BROADCAST, &body).await;
        assert_eq!(told.status, 202, "{told:?}");
        let told = told.json();
        assert_eq!(told["connected"], 1);
        let events = site.events("broadcast").await;
        assert_eq!(told["events"], json!([{ "licenseId": site.license_id, "eventId": events[0]["id"] }]));
        let expected = json!({ "broadcast": {
            "id": told["broadcastId"], "event": "theme.changed", "payload": body["payload"], "machineIds": null,
            "from": "user",
        }});
        assert_eq!(events[0]["data"], expected);
    });
}

#[test]
fn a_machine_tells_others_of_its_own_licence_alone() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let [a, b, _] = &site.machines;
        let body = json!({ "event": "hello", "payload": {}, "machineIds": [b] });
        let told = site.tell_from("a", BROADCAST, body.clone()).await;
        assert_eq!((told.status, &told.json()["connected"]), (202, &json!(0)), "{told:?}");
        let data = site.events("broadcast").await[0]["data"]["broadcast"].clone();
        assert_eq!((&data["from"], &data["machineIds"]), (&json!(a), &json!([b])));

        site.app.subscriber("cus_2", "user_2").await;
        let other = site.app.get("/v1/customers/cus_2").await.json()["licenses"][0]["id"].clone();
        let named = json!({ "event": "hello", "payload": {}, "licenseId": other });
        let refused = |response: TestResponse| response.refusal();
        assert_eq!(refused(site.tell_from("a", BROADCAST, named.clone()).await), (403, "not_activated".to_owned()));
        assert_eq!(refused(site.tell(BROADCAST, &named).await), (404, "not_found".to_owned()));
        assert_eq!(refused(site.tell_from("z", BROADCAST, body.clone()).await), (403, "not_activated".to_owned()));
        assert_eq!(refused(site.tell_as(None, BROADCAST, &body).await), (401, "unauthorized".to_owned()));
        let nobodys =
            json!({ "event": "x", "payload": {}, "licenseKey": "23456-789AB-CDEFG-HJKLM-NPQRH", "machineId": "a" });
        assert_eq!(refused(site.tell_as(None, BROADCAST, &nobodys).await), (404, "license_not_found".to_owned()));
        let stranger = site.tell_as(Some(signed_in("user_3", "user")), BROADCAST, &body).await;
        assert_eq!(stranger.refusal(), (404, "no_customer".to_owned()));

        let license = format!("/api/admin/licenses/{}/revoke", site.license_id);
        assert_eq!(site.app.act(&license, &json!({ "reason": "a test" })).await.status, 200);
        assert_eq!(refused(site.tell_from("a", BROADCAST, body).await), (403, "license_revoked".to_owned()));
    });
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let long = "x".repeat(8 << 10);
        for (path, param, value) in [
            (BROADCAST, "event", json!("")),
            (BROADCAST, "event", json!("Hello")),
            (BROADCAST, "event", json!("x".repeat(65))),
            (BROADCAST, "payload", json!([1])),
            (BROADCAST, "payload", json!({ "long": long })),
            (BROADCAST, "machineIds", json!([])),
            (BROADCAST, "machineIds", json!(["mac_other"])),
            (SYNC, "syncType", json!("")),
            (SYNC, "syncType", json!("a\tb")),
            (SYNC, "payload", json!("x".repeat(64 << 10))),
            (SYNC, "machineIds", json!([site.machines[0], "mac_other"])),
        ] {
            let mut body = json!({ "event": "hello", "syncType": "settings", "payload": {} });
            body[param] = value;
            let refused = site.tell(path, &body).await.refused_parameter();
            assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some(param.to_owned())), "{param}");
        }
        let largest = json!({ "syncType": "settings", "payload": "x".repeat((64 << 10) - 2) });
        assert_eq!(site.tell(SYNC, &largest).await.status, 202);
        assert_eq!(site.events("broadcast").await.len(), 0);
    });
}

#[test]
fn a_licence_is_told_something_ten_times_a_minute() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let hello = json!({ "event": "hello", "payload": {} });
        for number in 0..10 {
            let told = if number % 2 == 0 {
                site.tell(BROADCAST, &hello).await
            } else {
                site.tell_from("a", BROADCAST, hello.clone()).await
            };
            assert_eq!(told.status, 202, "{number}");
        }
        assert_eq!(site.tell(BROADCAST, &hello).await.refusal(), (429, "rate_limited".to_owned()));
        assert_eq!(site.events("broadcast").await.len(), 10);
        site.app.inner.clock.advance(Duration::from_secs(6));
        assert_eq!(site.tell(BROADCAST, &hello).await.status, 202);
    });
}

#[test]
fn what_is_told_twice_under_one_key_is_told_once() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let send = async |machine: Option<&str>| {
            let mut body = json!({ "event": "hello", "payload": {} });
            if let Some(machine) = machine {
                body["licenseKey"] = json!(site.key);
                body["machineId"] = json!(machine);
            }
            let request = site.app.client.post(BROADCAST).header(ContentType::JSON).body(body.to_string());
            let mut request = request.header(Header::new("Idempotency-Key", "once"));
            if machine.is_none() {
                request.add_header(signed_in("user_1", "user"));
            }
            TestResponse::of(request).await
        };
        for machine in [None, Some("a"), Some("b")] {
            let (first, second) = (send(machine).await, send(machine).await);
            assert_eq!((first.status, first.header("idempotent-replayed")), (202, None), "{first:?}");
            assert_eq!((first.json(), second.header("idempotent-replayed")), (second.json(), Some("true")));
        }
        assert_eq!(site.events("broadcast").await.len(), 3, "each caller's keys are their own");
    });
}

#[test]
fn of_three_machines_one_syncs_and_two_answer() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let [a, b, c] = &site.machines;
        let begun = site.tell_from("a", SYNC, json!({ "syncType": "settings", "payload": { "theme": "dark" } })).await;
        assert_eq!(begun.status, 202, "{begun:?}");
        let begun = begun.json();
        let pending = |id: &String| json!({ "machineId": id, "status": "pending", "at": null, "error": null });
        assert_eq!((&begun["status"], &begun["targets"]), (&json!("pending"), &json!([pending(b), pending(c)])));
        let event = &site.events("state_sync").await[0];
        assert_eq!(event["id"], begun["eventId"]);
        let expected = json!({ "sync": {
            "id": begun["id"], "syncType": "settings", "payload": { "theme": "dark" }, "machineIds": null, "from": a,
        }});
        assert_eq!(event["data"], expected);

        let path = format!("{SYNC}/{}", begun["id"].as_str().unwrap());
        site.acknowledge(&begun["eventId"], "b", "processed").await;
        assert_eq!(site.app.see(&path).await.json()["status"], "pending");
        site.acknowledge(&begun["eventId"], "c", "failed").await;
        let by_machine = format!("{path}?licenseKey={}&machineId=b", site.key);
        let done = TestResponse::of(site.app.client.get(by_machine)).await.json();
        assert_eq!(done, site.app.see(&path).await.json());
        assert_eq!(done["status"], "completed");
        assert_eq!(
            [&done["targets"][0]["status"], &done["targets"][1]["status"], &done["targets"][1]["error"]],
            [&json!("processed"), &json!("failed"), &json!("disk full")]
        );
        let stranger = site.app.as_user(Method::Get, &path, &signed_in("user_2", "user")).await;
        assert_eq!(stranger.refusal(), (404, "not_found".to_owned()));
        let unknown = site.app.see("/api/terminals/sync/syn_unknown").await;
        assert_eq!(unknown.refusal(), (404, "not_found".to_owned()));
    });
}

#[test]
fn a_sync_that_nobody_answers_expires_after_a_day() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        let body = json!({ "syncType": "settings", "payload": null, "machineIds": [site.machines[2]] });
        let begun = site.tell(SYNC, &body).await.json();
        let path = format!("{SYNC}/{}?licenseKey={}&machineId=a", begun["id"].as_str().unwrap(), site.key);
        let status = async || TestResponse::of(site.app.client.get(path.clone())).await.json()["status"].clone();
        site.acknowledge(&begun["eventId"], "b", "processed").await;
        site.app.inner.clock.advance(Duration::from_secs(24 * 3600 - 1));
        assert_eq!(status().await, "pending");
        site.app.inner.clock.advance(Duration::from_secs(1));
        assert_eq!(status().await, "expired");
    });
}

#[test]
fn who_has_several_licences_says_which_one_is_to_sync() {
    on_each_engine!(async |db| {
        let site = Site::on(db).await;
        site.app.subscriber("cus_2", "user_1").await;
        let body = json!({ "syncType": "settings", "payload": {} });
        let refused = site.tell(SYNC, &body).await.refused_parameter();
        assert_eq!(refused, (422, "invalid_parameter".to_owned(), Some("licenseId".to_owned())));
        let told = site.tell(BROADCAST, &json!({ "event": "hello", "payload": {} })).await.json();
        assert_eq!(told["events"].as_array().unwrap().len(), 2);
        let named = json!({ "syncType": "settings", "payload": {}, "machineIds": [site.machines[0]] });
        assert_eq!(site.tell(SYNC, &named).await.status, 202);
    });
}

#[rocket::async_test]
async fn terminals_are_for_users_and_machines_alone() {
    assert_only_for_users(&[
        (Method::Get, "/api/terminals"),
        (Method::Get, "/api/terminal-sessions"),
        (Method::Get, "/api/terminals/sync/syn_1"),
    ])
    .await;
}
