//! Whose app is there.

use tollgate_db::{Json, Lock};
use tollgate_domain::sessions::{Presence, Session};
use tollgate_shared::Timestamp;

use super::*;
use crate::events::presence;
use crate::licenses::last_seen;

/// The session of a machine, as it is written.
async fn session(db: &Db, machine: &str) -> Option<Session> {
    let mut tx = db.read().await.unwrap();
    let ids = [machine.to_owned()].into();
    tx.load("machine_id", &ids, Lock::None).await.unwrap().pop()
}

async fn stream<'a>(app: &'a TestApp, key: &str, machine: &str) -> Listener<'a> {
    let response = app.client.get(format!("/api/events/{key}?machineId={machine}")).dispatch().await;
    let mut listener = Listener { response, text: String::new() };
    assert_eq!(listener.next().await.unwrap().event, "connected");
    listener
}

#[test]
fn a_stream_opens_a_session_and_who_comes_back_renews_it() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let machine = activate(&app, &key, "a").await;
        assert_eq!(session(&db, &machine).await, None);
        let opened_at = app.inner.clock.now();
        let listener = stream(&app, &key, "a").await;
        assert_eq!(session(&db, &machine).await, None, "nothing is written on the way");
        app.inner.clock.advance(Duration::from_secs(3));
        last_seen::write(&app.inner).await.unwrap();
        let opened = session(&db, &machine).await.unwrap();
        assert_eq!((&*opened.transport, opened.connected_at, opened.stale_at), ("stream", opened_at, None));
        drop(listener);

        app.inner.clock.advance(Duration::from_secs(86_400));
        assert_eq!(presence::detect_stale(&app.inner).await, Ok(1));
        assert_eq!(presence::detect_stale(&app.inner).await, Ok(0));
        let stale = session(&db, &machine).await.unwrap();
        assert_eq!(stale.stale_at, Some(app.inner.clock.now()));
        let _listener = stream(&app, &key, "a").await;
        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(session(&db, &machine).await, Some(Session { last_seen_at: app.inner.clock.now(), ..opened }));
    });
}

#[test]
fn a_heartbeat_opens_a_session_and_a_question_opens_none() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let machine = activate(&app, &key, "a").await;
        let body = json!({ "licenseKey": key, "machineId": "a" });
        assert_eq!(app.post("/api/license/validate", &body).await.status, 200);
        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(session(&db, &machine).await, None);
        assert_eq!(app.post("/api/license/heartbeat", &body).await.status, 200);
        last_seen::write(&app.inner).await.unwrap();
        let opened = session(&db, &machine).await.unwrap();
        assert_eq!((&*opened.transport, opened.last_seen_at), ("heartbeat", app.inner.clock.now()));
        // It goes on being seen by more than asking.
        app.inner.clock.advance(Duration::from_secs(301));
        app.post("/api/license/validate", &body).await;
        assert_eq!(presence::detect_stale(&app.inner).await, Ok(1));
    });
}

#[test]
fn a_session_is_not_stale_while_its_stream_is_open_anywhere() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let machine = activate(&app, &key, "a").await;
        let there = app.replica(db.clone()).await;
        let listener = stream(&there, &key, "a").await;
        for _ in 0..4 {
            app.inner.clock.advance(Duration::from_secs(200));
            presence::renew(&there.inner);
            last_seen::write(&there.inner).await.unwrap();
            assert_eq!(presence::detect_stale(&app.inner).await, Ok(0));
        }
        // Whatever its own clock does: what it knows to be there comes first.
        app.inner.clock.advance(Duration::from_secs(86_400));
        assert_eq!(presence::detect_stale(&there.inner).await, Ok(0));
        // Its process is gone, and says nothing any more.
        drop(listener);
        app.inner.clock.advance(Duration::from_secs(299));
        assert_eq!(presence::detect_stale(&app.inner).await, Ok(0));
        app.inner.clock.advance(Duration::from_secs(1));
        assert_eq!(presence::detect_stale(&app.inner).await, Ok(1));
        assert!(session(&db, &machine).await.unwrap().stale_at.is_some());
    });
}

#[test]
fn each_stale_session_is_marked_by_one_of_many_replicas() {
    on_each_engine!(async |db| {
        let (app, _, _) = with_license(db.clone()).await;
        // More than are marked in one transaction.
        let mut tx = db.write().await.unwrap();
        let at = app.inner.clock.now();
        let machines = "INSERT INTO machines (id, license_id, fingerprint_hash, activated_at, last_seen_at)
                        SELECT 'mac_' || wanted.key, licenses.id, wanted.key, $2, $2
                        FROM json_each($1) AS wanted, licenses";
        let names: serde_json::Map<_, _> = (0..1203).map(|number| (number.to_string(), Value::Null)).collect();
        tx.sql(machines).bind(Json(&names)).bind(at).run().await.unwrap();
        let sessions = "INSERT INTO sessions (machine_id, id, transport, connected_at, last_seen_at)
                        SELECT id, 'ses_' || id, 'stream', activated_at, last_seen_at FROM machines";
        assert_eq!(tx.sql(sessions).run().await, Ok(1203));
        tx.commit().await.unwrap();
        app.inner.clock.advance(Duration::from_secs(300));
        let replica = app.replica(db.clone()).await;
        let (here, there) = tokio::join!(presence::detect_stale(&app.inner), presence::detect_stale(&replica.inner));
        assert_eq!(here.unwrap() + there.unwrap(), 1203);
        let left = "SELECT count(*) FROM sessions WHERE stale_at IS NULL";
        assert_eq!(db.read().await.unwrap().sql(left).one::<(i64,)>().await, Ok((0,)));
    });
}

#[test]
fn a_session_ends_with_its_machines_seat() {
    on_each_engine!(async |db| {
        let (app, key, _) = with_license(db.clone()).await;
        let machine = activate(&app, &key, "a").await;
        let _listener = stream(&app, &key, "a").await;
        last_seen::write(&app.inner).await.unwrap();
        let opened = session(&db, &machine).await.unwrap();
        let body = json!({ "licenseKey": key, "machineId": "a" });
        assert_eq!(app.post("/api/license/deactivate", &body).await.status, 200);
        app.inner.clock.advance(Duration::from_secs(30));
        presence::renew(&app.inner);
        last_seen::write(&app.inner).await.unwrap();
        assert_eq!(session(&db, &machine).await, Some(opened), "its stream renews nothing");
        let (ended_at,): (Option<Timestamp>,) = db
            .read()
            .await
            .unwrap()
            .sql("SELECT deactivated_at FROM machines WHERE id = $1")
            .bind(&*machine)
            .one()
            .await
            .unwrap();
        let now = app.inner.clock.now();
        assert_eq!(Presence::at(now, now, ended_at), Presence::Ended);
        // The same machine's next activation is another.
        let next = activate(&app, &key, "a").await;
        let _listener = stream(&app, &key, "a").await;
        last_seen::write(&app.inner).await.unwrap();
        assert_ne!(session(&db, &next).await.unwrap().id, session(&db, &machine).await.unwrap().id);
    });
}
