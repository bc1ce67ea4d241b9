//! When machines were last heard of.

use std::sync::Arc;

use tollgate_db::{DbError, Faults, Moment};
use tollgate_shared::clock::rfc3339;

use super::*;
use crate::app::App;
use crate::licenses::last_seen;

#[test]
fn a_sign_of_life_is_written_later_and_with_all_others() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        for machine in ["a", "b", "c"] {
            app.activate(&key, machine).await;
        }
        let before = app.machines().await;
        app.inner.clock.advance(Duration::from_secs(60));
        let body = json!({ "licenseKey": key, "machineId": "a", "appVersion": "2.0" });
        let heartbeat = app.call_from("203.0.113.7", "heartbeat", &body).await.json();
        assert_eq!(heartbeat["machine"]["lastSeenAt"], rfc3339(app.inner.clock.now()));
        assert_eq!(heartbeat["machine"]["appVersion"], "2.0");
        app.call("validate", &key, "b").await;
        assert_eq!(app.machines().await, before, "nothing is written on the way");
        assert_eq!(app.inner.last_seen.count(), 2);

        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(app.inner.last_seen.count(), 0);
        let after = app.machines().await;
        let seconds: Vec<_> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| (after.last_seen_at - before.last_seen_at).num_seconds())
            .collect();
        assert_eq!(seconds.iter().sum::<i64>(), 120, "{seconds:?}");
        assert_eq!(after.iter().filter(|machine| machine.app_version.as_deref() == Some("2.0")).count(), 1);
    });
}

#[test]
fn of_two_replicas_the_one_that_writes_last_sets_nothing_back() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let key = app.license_key().await;
        let replica = app.replica(db).await;
        app.activate(&key, "a").await;
        app.inner.clock.advance(Duration::from_secs(10));
        app.call("heartbeat", &key, "a").await;
        app.inner.clock.advance(Duration::from_secs(10));
        replica.call("heartbeat", &key, "a").await;
        let newest = app.inner.clock.now();
        last_seen::write(&replica.inner).await.unwrap();
        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(app.machines().await[0].last_seen_at, newest);
    });
}

#[test]
fn what_could_not_be_written_is_written_later() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let key = app.license_key().await;
        app.activate(&key, "a").await;
        app.inner.clock.advance(Duration::from_secs(10));
        app.call("heartbeat", &key, "a").await;
        let newest = app.inner.clock.now();
        let faults = Arc::new(Faults::default());
        // Nothing else of this one is at work: what fails is what is written here.
        let failing = App { db: db.with_faults(faults.clone()), ..app.inner.clone() };
        // Beginning, reading machines and sessions, writing, committing.
        for nth in 1..=5 {
            faults.arm(nth, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
            last_seen::write(&failing).await.unwrap_err();
            assert_eq!(app.inner.last_seen.count(), 1, "{nth}");
        }
        last_seen::write(&failing).await.unwrap();
        assert_eq!(app.inner.last_seen.count(), 0);
        assert_eq!(app.machines().await[0].last_seen_at, newest);
    });
}

#[test]
fn a_machine_that_gave_its_seat_up_is_no_longer_heard_of() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        app.activate(&key, "a").await;
        app.inner.clock.advance(Duration::from_secs(10));
        app.call("heartbeat", &key, "a").await;
        app.call("deactivate", &key, "a").await;
        let before = app.machines().await;
        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(app.machines().await, before);
    });
}

#[test]
fn a_silent_machine_gives_its_seat_up_when_another_needs_it() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("MACHINE_STALE_DAYS", "7")]).await;
        let key = app.license_key().await;
        for machine in ["a", "b", "c"] {
            app.inner.clock.advance(Duration::from_secs(1));
            app.activate(&key, machine).await;
        }
        app.inner.clock.advance(Duration::from_secs(7 * 86_400));
        app.call("heartbeat", &key, "a").await;
        last_seen::write(&app.inner).await.unwrap();
        let shown = app.call("validate", &key, "c").await.json();
        let stale: Vec<_> =
            shown["license"]["machines"].as_array().unwrap().iter().map(|machine| machine["stale"].clone()).collect();
        assert_eq!(stale, [json!(false), json!(true), json!(false)], "whoever asks has just been heard of");
        last_seen::write(&app.inner).await.unwrap();
        let activated = app.activate(&key, "d").await;
        assert_eq!(activated.status, 201);
        assert_eq!(app.code(&key, "b").await, "NOT_ACTIVATED");
        let told = app.told().await;
        assert_eq!(told[told.len() - 2..], ["machine_deactivated", "machine_activated"]);
    });
}
