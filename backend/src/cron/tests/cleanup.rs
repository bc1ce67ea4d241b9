//! What is removed when it is old, and what is kept.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_db::{DbError, Faults, Moment};
use tollgate_domain::apply::Touched;
use tollgate_domain::dead_letters::{self, Delivery, Failure, Subject};
use tollgate_domain::events::{EventType, PendingEvent};
use tollgate_domain::idempotency::{self, Request};
use tollgate_domain::licenses;

use super::*;
use crate::app::App;
use crate::webhooks::{Status, WebhookEvent};

const DAY: u64 = 86_400;

impl TestApp {
    /// Removes what is too old; gives what that was.
    async fn clean_up(&self) -> Value {
        let response = self.ask_for(Method::Post, "cleanup-events").await.json();
        assert_eq!(response["ran"], true, "{response}");
        response["summary"].clone()
    }

    async fn store_events(&self, days_ago: i64, statuses: &[Status]) {
        let received_at = self.inner.clock.now() - chrono::Duration::days(days_ago);
        let event = |status: &Status| WebhookEvent {
            id: format!("evt_{}_{days_ago}", status.name()),
            r#type: "invoice.paid".to_owned(),
            api_version: None,
            livemode: None,
            account: None,
            object_id: None,
            customer_id: None,
            status: status.name().to_owned(),
            reason: None,
            attempts: 1,
            last_error: None,
            created_at: None,
            received_at,
            processed_at: None,
            next_attempt_at: None,
            batch_id: None,
            request_id: None,
            payload: Bytes::from_static(b"{}"),
        };
        let rows: Vec<_> = statuses.iter().map(event).collect();
        let mut tx = self.inner.begin_write().await.unwrap();
        tx.insert(&rows.iter().collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn column(&self, sql: &'static str) -> Vec<String> {
        let rows: Vec<(String,)> = self.inner.read().await.unwrap().sql(sql).all().await.unwrap();
        rows.into_iter().map(|(id,)| id).collect()
    }

    async fn open_letter(&self, failure: &Failure<'_>) {
        let mut tx = self.inner.begin_write().await.unwrap();
        dead_letters::open(&mut tx, self.inner.clock.now(), &self.inner.rng, failure).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn resolve_letter_of(&self, event_id: &str) {
        let mut tx = self.inner.begin_write().await.unwrap();
        let letter: (String,) =
            tx.sql("SELECT id FROM dead_letters WHERE event_id = $1").bind(event_id).one().await.unwrap();
        assert_eq!(dead_letters::resolve(&mut tx, self.inner.clock.now(), &letter.0, "ada", None).await, Ok(true));
        tx.commit().await.unwrap();
    }

    async fn webhook_events(&self) -> Vec<String> {
        self.column("SELECT id FROM webhook_events ORDER BY id").await
    }

    /// Something happens to the customer's licence.
    async fn happen(&self, number: i64) {
        let event = PendingEvent { event_type: EventType::PlanChanged, data: json!({ "number": number }) };
        let touched = Touched::customer("cus_1");
        let happened = self.inner.write(&touched, |work| {
            licenses::append_event(work, "cus_1", event.clone());
            Ok::<_, ()>(())
        });
        happened.await.unwrap();
    }

    async fn license(&self) -> (String, String) {
        let license = self.get("/v1/customers/cus_1").await.json()["licenses"][0].clone();
        ["id", "key"].map(|member| license[member].as_str().unwrap().to_owned()).into()
    }

    /// What an app says of its only machine.
    async fn say(&self, path: &str, key: &str, more: Value) -> Value {
        let mut body = json!({ "licenseKey": key, "machineId": "a-fingerprint" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = self.post(path, &body).await;
        assert!(response.status < 300, "{response:?}");
        response.json()
    }

    /// What an app is told that has seen everything up to `since`: types or numbers, and the gap.
    async fn missed(&self, key: &str, since: &str) -> (Vec<Value>, Value, String) {
        let response =
            TestResponse::of(self.client.get(format!("/api/events/{key}/missed?since={since}"))).await.json();
        let told = |event: &Value| match &event["data"]["number"] {
            Value::Null => event["type"].clone(),
            number => number.clone(),
        };
        let events = response["data"].as_array().unwrap_or_else(|| panic!("{response}")).iter().map(told).collect();
        (events, response["gap"].clone(), response["nextCursor"].as_str().unwrap().to_owned())
    }
}

#[test]
fn old_events_that_have_ended_well_are_removed_and_no_others() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("WEBHOOK_EVENTS_DAYS_MAX", "10")]).await;
        let all = [Status::Processed, Status::Ignored, Status::Failed, Status::DeadLettered];
        for days_ago in [9, 11, 400] {
            app.store_events(days_ago, &all).await;
        }
        assert_eq!(
            app.clean_up().await,
            json!({
                "webhookEvents": 4, "licenseEvents": 0, "deadLetters": 0, "sessions": 0, "machines": 0,
                "rememberedRequests": 0, "cronRuns": 0, "releaseFiles": 0, "notifications": 0,
            })
        );
        let kept = [
            "evt_dead_lettered_11",
            "evt_dead_lettered_400",
            "evt_dead_lettered_9",
            "evt_failed_11",
            "evt_failed_400",
            "evt_failed_9",
            "evt_ignored_9",
            "evt_processed_9",
        ];
        assert_eq!(app.webhook_events().await, kept);
        app.advance(1);
        assert_eq!(app.clean_up().await["webhookEvents"], 0);
    });
}

#[test]
fn more_events_than_a_portion_are_all_removed() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let sql = match app.inner.db.engine() {
            Engine::Postgres => {
                "INSERT INTO webhook_events (id, type, status, attempts, received_at, payload)
                 SELECT 'evt_' || n, 'a', 'processed', 1, $1, '' FROM generate_series(1, 2500) AS n"
            }
            Engine::Sqlite => {
                "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2500)
                 INSERT INTO webhook_events (id, type, status, attempts, received_at, payload)
                 SELECT 'evt_' || n, 'a', 'processed', 1, $1, x'' FROM s"
            }
        };
        // Of one moment: what tells them apart is their ids.
        let mut tx = app.inner.begin_write().await.unwrap();
        tx.sql(sql).bind(app.inner.clock.now() - chrono::Duration::days(91)).run().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(app.clean_up().await["webhookEvents"], 2500);
        assert_eq!(app.webhook_events().await, [""; 0]);
    });
}

#[test]
fn a_database_that_is_busy_now_and_then_leaves_nothing_behind() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let faults = Arc::new(Faults::default());
        let failing = App { db: db.with_faults(faults.clone()), ..app.inner.clone() };
        let runner = Runner::new(&failing, &app.inbox);
        let job = timetable::job("cleanup-events").unwrap();
        // What is asked and claimed before comes first, what is recorded last.
        assert!(ran_here(&runner.run(job, Caller::Request).await.unwrap()));
        let operations = faults.counted().len();
        for nth in 7..=operations - 3 {
            app.store_events(100, &[Status::Processed, Status::Ignored]).await;
            app.advance(1);
            faults.arm(nth, Moment::Before, DbError::Conflict { code: "5".to_owned() });
            let ran = runner.run(job, Caller::Request).await.unwrap();
            assert!(ran_here(&ran) && !faults.is_armed(), "{nth}: {ran:?}");
            assert_eq!(app.webhook_events().await, [""; 0], "{nth}");
        }
    });
}

#[test]
fn an_event_that_comes_again_after_it_was_removed_changes_nothing() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (_, key) = app.license().await;
        app.advance(91 * DAY);
        app.happen(1).await;
        let before = app.get("/v1/customers/cus_1").await.json();
        assert_eq!(app.clean_up().await["webhookEvents"], 1);
        let log = app.missed(&key, "0").await;
        app.take_a_subscriber().await;
        assert_eq!(app.webhook_events().await, ["evt_subscribed"]);
        assert_eq!(app.get("/v1/customers/cus_1").await.json(), before);
        assert_eq!(app.missed(&key, "0").await, log);
        assert_eq!(app.column("SELECT id FROM api_keys").await.len(), 1);
    });
}

#[test]
fn an_app_is_told_of_the_gap_that_removed_events_leave() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("LICENSE_EVENTS_DAYS_MAX", "30")]).await;
        app.take_a_subscriber().await;
        let (_, key) = app.license().await;
        let (first, gap, at_the_end) = app.missed(&key, "0").await;
        assert!(first.len() >= 2 && gap.is_null(), "{first:?}");
        app.advance(20 * DAY);
        app.happen(1).await;
        app.happen(2).await;
        app.advance(11 * DAY);
        let removed = app.clean_up().await;
        assert_eq!(removed["licenseEvents"], first.len(), "{removed}");
        let kept = vec![json!(1), json!(2)];
        // Who has seen all that was removed misses nothing; who asks for what there is gets that.
        assert_eq!(app.missed(&key, &at_the_end).await.0, kept);
        assert_eq!(app.missed(&key, &at_the_end).await.1, Value::Null);
        assert_eq!(app.missed(&key, "0").await.0, kept);
        let (epoch, seq) = at_the_end.split_once('.').unwrap();
        let seq: i64 = seq.parse().unwrap();
        let (told, gap, end) = app.missed(&key, &format!("{epoch}.{}", seq - 1)).await;
        assert_eq!((told, gap), (kept, json!({ "oldest": format!("{epoch}.{}", seq + 1), "newest": end })));

        // Nothing is left.
        app.advance(31 * DAY);
        assert_eq!(app.clean_up().await["licenseEvents"], 2);
        assert_eq!(app.missed(&key, &end).await, (vec![], Value::Null, end.clone()));
        let (told, gap, next) = app.missed(&key, &at_the_end).await;
        assert_eq!((told, gap, next), (vec![], json!({ "oldest": null, "newest": null }), end.clone()));
        app.happen(3).await;
        assert_eq!(app.missed(&key, &end).await.0, [3]);
    });
}

#[test]
fn what_a_machine_that_was_there_has_not_acknowledged_is_kept() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (_, key) = app.license().await;
        app.advance(1);
        app.say("/api/license/activate", &key, json!({})).await;
        app.happen(1).await;
        app.happen(2).await;
        app.advance(200 * DAY);
        // Those from before it came are removed, up to its own.
        app.clean_up().await;
        let (told, _, _) = app.missed(&key, "0").await;
        assert_eq!(told, [json!("machine_activated"), json!(1), json!(2)]);
        let path = format!("/api/events/{key}/missed");
        let ids: Vec<_> =
            app.get(&path).await.json()["data"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();

        // The second alone would leave a hole.
        app.say("/api/events/acknowledge", &key, json!({ "eventId": ids[1] })).await;
        app.advance(1);
        assert_eq!(app.clean_up().await["licenseEvents"], 0);
        app.say("/api/events/acknowledge", &key, json!({ "eventId": ids[0] })).await;
        app.say("/api/events/acknowledge", &key, json!({ "eventId": ids[2], "status": "failed" })).await;
        app.advance(1);
        assert_eq!(app.clean_up().await["licenseEvents"], 2);
        assert_eq!(app.missed(&key, "0").await.0, [2], "what it failed at may be sent to it again");
        app.say("/api/license/deactivate", &key, json!({})).await;
        app.advance(1);
        assert_eq!(app.clean_up().await["licenseEvents"], 1);
    });
}

#[test]
fn resolved_letters_go_after_ninety_days_and_their_events_too() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.store_events(0, &[Status::DeadLettered]).await;
        let event = app.webhook_events().await.remove(0);
        let failure = Failure {
            subject: Subject::Webhook(&event),
            customer_id: None,
            event_type: "invoice.paid",
            reason: "unreadable",
            attempts: 1,
        };
        let letters = async || app.column("SELECT status FROM dead_letters ORDER BY status").await;
        for subject in [failure.subject, Subject::Notification("msg_1"), Subject::Webhook("evt_open")] {
            app.open_letter(&Failure { subject, ..failure }).await;
        }
        for id in [&*event, "msg_1"] {
            app.resolve_letter_of(id).await;
        }
        app.advance(90 * DAY);
        assert_eq!(app.clean_up().await["deadLetters"], 0);
        // One that fails again after it was resolved waits for somebody again.
        app.open_letter(&Failure { subject: Subject::Notification("msg_1"), ..failure }).await;
        app.advance(1);
        assert_eq!(app.clean_up().await["deadLetters"], 1);
        assert_eq!(letters().await, ["open", "open"]);
        assert_eq!(app.webhook_events().await, [""; 0], "nobody wants it any more");
        app.resolve_letter_of("msg_1").await;
        app.advance(90 * DAY + 1);
        assert_eq!(app.clean_up().await["deadLetters"], 1);
        assert_eq!(letters().await, ["open"]);
    });
}

#[test]
fn machines_go_long_after_they_gave_up_their_seats() {
    on_each_engine!(async |db| {
        // Sooner than a session is forgotten that nothing was heard of.
        let app = TestApp::with(db, &[("LICENSE_EVENTS_DAYS_MAX", "5")]).await;
        app.take_a_subscriber().await;
        let (_, key) = app.license().await;
        for machine in ["stays", "a-fingerprint"] {
            app.say("/api/license/activate", &key, json!({ "machineId": machine })).await;
            app.say("/api/license/heartbeat", &key, json!({ "machineId": machine })).await;
        }
        app.ask_for(Method::Post, "detect-stale-sessions").await;
        app.say("/api/license/deactivate", &key, json!({})).await;
        let left = app.column("SELECT id FROM machines WHERE deactivated_at IS NOT NULL").await.remove(0);
        let delivery = Delivery { event_id: "sev_1", machine_id: &left, license_id: "lic_1" };
        let failure = Failure {
            subject: Subject::Desktop(delivery),
            customer_id: None,
            event_type: "broadcast",
            reason: "disk full",
            attempts: 1,
        };
        app.open_letter(&failure).await;
        app.advance(5 * DAY);
        assert_eq!(app.clean_up().await["machines"], 0);
        app.advance(1);
        assert_eq!(app.clean_up().await["machines"], 1);
        assert_eq!(app.column("SELECT machine_id FROM sessions").await.len(), 1);
        assert_eq!(app.column("SELECT resolved_by FROM dead_letters").await, ["deactivation"]);
        // It may come back, as another one.
        app.say("/api/license/activate", &key, json!({})).await;
        assert_eq!(app.column("SELECT id FROM machines").await.len(), 2);
    });
}

#[test]
fn requests_are_remembered_for_a_day_and_then_removed() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let request = Request::new("user_1", "POST /", "k", "/", b"{}");
        let sealer = &app.inner.settings.sealer;
        let touched = Touched::request(&request.id);
        let claim = app.inner.write(&touched, |work| idempotency::claim(work, sealer, &request, "an attempt"));
        claim.await.unwrap();
        app.advance(DAY - 1);
        assert_eq!(app.clean_up().await["rememberedRequests"], 0);
        app.advance(1);
        assert_eq!(app.clean_up().await["rememberedRequests"], 1);
    });
}

#[test]
fn stale_sessions_are_found_each_minute_and_removed_after_a_month() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_a_subscriber().await;
        let (_, key) = app.license().await;
        app.say("/api/license/activate", &key, json!({})).await;
        app.say("/api/license/heartbeat", &key, json!({})).await;
        let detected = async || app.ask_for(Method::Post, "detect-stale-sessions").await.json()["summary"].clone();
        assert_eq!(detected().await, json!({ "stale": 0 }));
        app.advance(300);
        assert_eq!(detected().await, json!({ "stale": 1 }));
        app.advance(30 * DAY);
        assert_eq!(app.clean_up().await["sessions"], 0);
        app.advance(1);
        assert_eq!(app.clean_up().await["sessions"], 1);
    });
}

#[test]
fn runs_of_jobs_are_kept_for_a_month() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        for days in [0, 20, 11] {
            app.advance(days * DAY);
            app.runner().look(retry_events()).await.unwrap();
        }
        assert_eq!(app.clean_up().await["cronRuns"], 1);
        let ticks: Vec<_> = app.runs().await.into_iter().map(|(job, tick, ..)| (job, rfc3339(tick))).collect();
        let left = [
            "cleanup-events 2025-07-16T03:00:00Z",
            "retry-events 2025-07-05T15:06:00Z",
            "retry-events 2025-07-16T15:06:00Z",
        ];
        assert_eq!(ticks.iter().map(|(job, tick)| format!("{job} {tick}")).collect::<Vec<_>>(), left);
    });
}

/// Takes minutes: `scripts/test --long`.
mod long {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::{Instant, sleep_until};
    use tollgate_db::Db;
    use tollgate_shared::RequestId;

    use super::*;
    use crate::testing::{event, subscription_of};

    /// How many old events there are, and how many that are kept.
    const OLD: i64 = 1_000_000;
    const KEPT: i64 = 1000;

    /// How many are made by one statement: it has its time limit.
    const TOGETHER: i64 = 5000;

    /// For how long webhooks come before the clean-up, and while it goes on: then nobody comes, and it hurries.
    const MEASURED: Duration = Duration::from_secs(30);

    /// Events, a second apart, of a size such as Stripe's have when they are packed; each with its first time.
    const FILL: [(Engine, &str); 2] = [
        (
            Engine::Postgres,
            "INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT 'evt_' || md5($3 || n), 'type.' || n % 40, CASE WHEN n % 3 = 0 THEN 'ignored' ELSE 'processed' END,
                    1, 'cus_' || n % 50000, 'in_' || n, CAST($3 AS timestamptz) + n * interval '1 second',
                    convert_to(repeat(md5($3 || n), 30), 'UTF8')
             FROM generate_series($1 + 1, $1 + $2) AS n",
        ),
        (
            Engine::Sqlite,
            "WITH RECURSIVE s (n) AS (SELECT $1 + 1 UNION ALL SELECT n + 1 FROM s WHERE n < $1 + $2)
             INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT 'evt_' || hex(randomblob(16)), 'type.' || n % 40,
                    CASE WHEN n % 3 = 0 THEN 'ignored' ELSE 'processed' END,
                    1, 'cus_' || n % 50000, 'in_' || n,
                    strftime('%Y-%m-%dT%H:%M:%S.000000Z', $3, n || ' seconds'), randomblob(960)
             FROM s",
        ),
    ];

    async fn fill(db: &Db, first_at: &str, events: i64) {
        let (_, fill) = FILL.into_iter().find(|(engine, _)| *engine == db.engine()).unwrap();
        for start in (0..events).step_by(TOGETHER as usize) {
            let mut tx = db.upkeep().await.unwrap();
            let together = TOGETHER.min(events - start);
            tx.sql(fill).bind(start).bind(together).bind(first_at).run().await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// How long each of some hundred webhooks a second took, the quickest first.
    async fn webhooks(app: &TestApp, first: &str) -> Vec<Duration> {
        let (begun, mut took, mut number) = (Instant::now(), Vec::new(), 0);
        while begun.elapsed() < MEASURED {
            sleep_until(begun + number * Duration::from_millis(80)).await;
            let events = (0..8).map(|of| {
                let id = format!("evt_{first}_{number}_{of}");
                let subscription = subscription_of(&format!("cus_{of}"), "active");
                let payload = event(&id, "customer.subscription.updated", &subscription);
                async move {
                    let request_id = RequestId::new(app.inner.clock.now(), &app.inner.rng);
                    let begun = Instant::now();
                    let taken = app.inbox.take(Bytes::from(payload.to_string()), &request_id).await;
                    taken.unwrap_or_else(|error| panic!("after {:?}: {error:?}", begun.elapsed()));
                    begun.elapsed()
                }
            });
            took.extend(join_all(events).await);
            number += 1;
        }
        took.sort();
        took
    }

    fn at(took: &[Duration], share: f64) -> f64 {
        took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
    }

    fn said(took: &[Duration]) -> String {
        let [half, p99, worst] = [0.5, 0.99, 1.0].map(|share| at(took, share));
        format!("{} webhooks: p50 {half:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms", took.len())
    }

    #[test]
    fn a_million_old_events_are_removed_while_webhooks_come() {
        on_each_engine!(async |db| {
            let app = TestApp::on(db.clone()).await;
            let begun = Instant::now();
            fill(&db, "2024-01-01T00:00:00Z", OLD).await;
            fill(&db, "2025-06-01T00:00:00Z", KEPT).await;
            let filled = begun.elapsed().as_secs();
            let without = webhooks(&app, "before").await;
            let begun = Instant::now();
            let is_over = AtomicBool::new(false);
            let cleaning = async {
                let removed = app.clean_up().await;
                is_over.store(true, Ordering::SeqCst);
                removed
            };
            let meanwhile = async {
                let with = webhooks(&app, "meanwhile").await;
                (with, is_over.load(Ordering::SeqCst))
            };
            let (removed, (with, was_over)) = tokio::join!(cleaning, meanwhile);
            let engine = db.engine();
            println!("{engine:?}: {OLD} events made in {filled} s, removed in {} s", begun.elapsed().as_secs());
            println!("{engine:?}, before:    {}", said(&without));
            println!("{engine:?}, meanwhile: {}", said(&with));
            println!("{engine:?}: p99 {:.2} times as long", at(&with, 0.99) / at(&without, 0.99));
            assert!(!was_over, "it went on while they came");
            assert_eq!(removed["webhookEvents"], OLD);
            let mut tx = db.read_list().await.unwrap();
            let count = "SELECT count(*), count(*) FILTER (WHERE type LIKE 'type.%') FROM webhook_events";
            let left: (i64, i64) = tx.sql(count).one().await.unwrap();
            assert_eq!(left, (KEPT + (without.len() + with.len()) as i64, KEPT));
        });
    }
}
