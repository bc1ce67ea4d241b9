//! The keys of a deployment, by all of its replicas, on both engines.

use std::sync::Arc;

use tollgate_db::Db;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};

use super::*;
use crate::on_each_engine;
use crate::testing::{START, TestApp, TestResponse, config, db_that_is_away};

const OLD: &str = "an old key of thirty-two letters";
const NEW: &str = "a newer key of forty-one letters in total";

/// A process that was started with this `ENCRYPTION_KEY`.
fn replica(db: &Db, encryption_key: &str) -> App {
    let config = config(&[("ENCRYPTION_KEY", encryption_key)]);
    App::new(Arc::new(config), db.clone(), Clock::manual(from_unix(START).unwrap()), Rng::system())
}

/// What tells one deployment's keys from another's.
async fn keys(app: &App) -> Result<(String, String), KeysError> {
    let keys = app.deployment_keys().await?;
    Ok((keys.fingerprint.hash("lic_1", "a machine"), keys.lease.kid().to_owned()))
}

async fn sealed(db: &Db) -> Vec<(String, Vec<u8>)> {
    let mut tx = db.read().await.unwrap();
    tx.sql("SELECT name, sealed FROM deployment_keys ORDER BY name").all().await.unwrap()
}

#[test]
fn replicas_that_start_at_once_have_the_same_keys() {
    on_each_engine!(async |db| {
        let replicas: Vec<App> = (0..8).map(|_| replica(&db, OLD)).collect();
        let started: Vec<_> = replicas
            .iter()
            .cloned()
            .map(|replica| tokio::spawn(async move { keys(&replica).await.unwrap() }))
            .collect();
        let mut found = Vec::new();
        for replica in started {
            found.push(replica.await.unwrap());
        }
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
        assert_eq!(keys(&replica(&db, OLD)).await.unwrap(), found[0], "after a restart");
    });
}

#[test]
fn keys_outlive_a_roll_of_encryption_key() {
    on_each_engine!(async |db| {
        let before = keys(&replica(&db, OLD)).await.unwrap();
        let under_old = sealed(&db).await;
        let during = format!("{NEW},{OLD}");
        assert_eq!(keys(&replica(&db, &during)).await.unwrap(), before);
        assert!(sealed(&db).await.iter().zip(&under_old).all(|(new, old)| new.1 != old.1), "sealed again");
        assert_eq!(keys(&replica(&db, NEW)).await.unwrap(), before);
    });
}

#[test]
fn under_a_wrong_encryption_key_nothing_is_overwritten() {
    on_each_engine!(async |db| {
        let before = keys(&replica(&db, OLD)).await.unwrap();
        let stored = sealed(&db).await;
        let wrong = replica(&db, NEW);
        let refusal = keys(&wrong).await.unwrap_err();
        assert!(refusal.to_string().contains("ENCRYPTION_KEY"), "{refusal}");
        assert!(!refusal.is_transient());
        assert_eq!(sealed(&db).await, stored);

        // A row that is missing beside one that does not open is not made either.
        let mut tx = db.write().await.unwrap();
        tx.sql("DELETE FROM deployment_keys WHERE name = 'lease'").run().await.unwrap();
        tx.commit().await.unwrap();
        keys(&wrong).await.unwrap_err();
        assert_eq!(sealed(&db).await, stored[..1]);
        // With the right key it is.
        assert_eq!(keys(&replica(&db, OLD)).await.unwrap().0, before.0);
    });
}

#[test]
fn who_cannot_open_the_keys_is_not_ready_and_says_so() {
    on_each_engine!(async |db| {
        keys(&replica(&db, OLD)).await.unwrap();
        let app = TestApp::with(db, &[("ENCRYPTION_KEY", NEW)]).await;
        assert_eq!(app.get("/ready").await.refusal(), (503, "unavailable".to_owned()));
        assert_eq!(app.get("/.well-known/jwks.json").await.refusal(), (500, "internal_error".to_owned()));
    });
}

#[test]
fn anybody_may_have_the_public_keys_and_keep_them() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let response = TestResponse::of(app.client.get("/.well-known/jwks.json")).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("cache-control"), Some("public, max-age=3600"));
        assert_eq!(response.header("content-type"), Some("application/json"));
        let body = response.json();
        let [key] = &body["keys"].as_array().unwrap()[..] else { panic!("{body}") };
        assert_eq!(key["kid"], app.inner.deployment_keys().await.unwrap().lease.kid());
        let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"], "and nothing that is secret");
    });
}

#[rocket::async_test]
async fn without_the_database_there_are_no_keys_yet() {
    let app = TestApp::on(db_that_is_away()).await;
    assert_eq!(app.get("/.well-known/jwks.json").await.refusal(), (503, "database_unavailable".to_owned()));
}
