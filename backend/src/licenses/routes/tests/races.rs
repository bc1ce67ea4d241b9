//! Many machines at once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tollgate_db::testing::block_on;
use tollgate_db::{Db, Engine};

use super::*;
use crate::schema::testing::{migrated, on};

const MACHINES: usize = 200;

/// How often each status was answered when all machines asked at once, each of the next replica in turn.
async fn race(replicas: &[&TestApp], key: &str) -> BTreeMap<u16, usize> {
    let activations = (0..MACHINES).map(async |index| {
        let answer = replicas[index % replicas.len()].call("activate", key, &format!("machine {index}")).await;
        if answer.status == 409 {
            assert_eq!(answer.json()["error"]["machines"].as_array().unwrap().len(), 3, "{answer:?}");
        }
        answer.status
    });
    let mut statuses = BTreeMap::new();
    for status in join_all(activations).await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

async fn three_of_all_win(replicas: &[&TestApp]) {
    let key = replicas[0].license_key().await;
    assert_eq!(race(replicas, &key).await, BTreeMap::from([(201, 3), (409, MACHINES - 3)]));
    let machines = replicas[0].machines().await;
    assert_eq!(machines.len(), 3);
    let told = replicas[0].told().await;
    assert_eq!(told.iter().filter(|event_type| *event_type == "machine_activated").count(), 3);
}

#[test]
fn two_hundred_machines_race_for_three_seats() {
    on_each_engine!(async |db| three_of_all_win(&[&TestApp::on(db).await]).await);
}

#[test]
fn two_hundred_machines_race_for_three_seats_of_two_backends() {
    block_on(async {
        let database = migrated(Engine::Postgres).await;
        let (one, other): (Db, Db) = (database.open(), database.open());
        let app = TestApp::on(one.clone()).await;
        let replica = app.replica(other.clone()).await;
        three_of_all_win(&[&app, &replica]).await;
        one.close().await;
        other.close().await;
    });
}

#[test]
fn one_machine_that_asks_many_times_at_once_has_one_seat() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let key = app.license_key().await;
        let replica = app.replica(db).await;
        let at_once = (0..20).map(async |index| {
            let answer = [&app, &replica][index % 2].call("activate", &key, "a").await;
            (answer.status, answer.json()["machine"]["id"].clone())
        });
        let answers = join_all(at_once).await;
        assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|(status, id)| [200, 201].contains(status) && *id == answers[0].1), "{answers:?}");
        assert_eq!(app.machines().await.len(), 1);
    });
}

#[test]
fn whoever_comes_after_a_revocation_gets_no_seat() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        app.change_license(|license| license.max_activations = 1000).await;
        let activations =
            join_all((0..60).map(async |index| app.call("activate", &key, &format!("machine {index}")).await));
        // The answers that came before the revocation, and those that came after.
        let (answers, ()) = futures_util::future::join(activations, app.revoke()).await;
        let activated = answers.iter().filter(|answer| answer.status == 201).count();
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(refused.refusal(), (403, "license_revoked".to_owned()));
        }
        assert_eq!(app.machines().await.len(), activated);
        assert_eq!(app.call("activate", &key, "late").await.refusal(), (403, "license_revoked".to_owned()));
        assert_eq!(app.code(&key, "machine 0").await, "REVOKED");
    });
}

/// On SQLite there is one writer, whatever it touches.
#[test]
fn a_locked_customer_keeps_no_machine_from_its_seat() {
    on(Engine::Postgres, async |db| {
        let app = TestApp::on(db.clone()).await;
        let key = app.license_key().await;
        let mut tx = db.write().await.unwrap();
        let locked = tx.sql("UPDATE customers SET name = name WHERE id = 'cus_1'").run().await.unwrap();
        assert_eq!(locked, 1);
        for call in CALLS {
            let status = app.call(call, &key, "a").await.status;
            assert!([200, 201, 403].contains(&status), "{call}: {status}");
        }
        assert_eq!(app.activate(&key, "a").await.status, 201);
        drop(tx);
    });
}
