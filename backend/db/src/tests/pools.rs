//! Who waits for whose connections.

use super::*;
use crate::testing::wait_until;

#[test]
fn lists_that_take_long_keep_no_look_up_waiting() {
    on_each_engine!(async |db: Db| {
        let mut lists = Vec::new();
        let failure = loop {
            match db.read_list().await {
                Ok(list) => lists.push(list),
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, DbError::Unavailable { .. }), "{failure:?}");
        assert!(!lists.is_empty());
        assert_eq!(db.ready().await, Ok(()));
        db.read().await.unwrap().sql("SELECT count(*) FROM letters").one::<(i64,)>().await.unwrap();
        db.inbox().await.unwrap().commit().await.unwrap();
        db.write().await.unwrap().commit().await.unwrap();
    });
}

#[test]
fn writes_that_take_long_keep_no_look_up_waiting() {
    on(Engine::Postgres, async |db| {
        let mut writes = Vec::new();
        while let Ok(write) = db.write().await {
            writes.push(write);
        }
        assert_eq!(db.ready().await, Ok(()));
        db.read().await.unwrap().sql("SELECT count(*) FROM letters").one::<(i64,)>().await.unwrap();
        db.inbox().await.unwrap().commit().await.unwrap();
    });
}

#[test]
fn the_first_event_finds_its_connections_open() {
    on_each_engine!(async |db: Db| {
        let (before, _) = db.connections();
        assert_eq!(db.warm_up().await, Ok(()));
        let (after, _) = db.connections();
        assert!(after >= before + db.inbox_writers() + 2 - 1, "{before} {after}");
        // Nobody holds them; each goes back in a task of its own.
        wait_until("they are given back", async || {
            let (open, idle) = db.connections();
            open as usize == idle
        })
        .await;
        db.inbox().await.unwrap().commit().await.unwrap();
        db.read_stream().await.unwrap().commit().await.unwrap();
        assert_eq!(db.connections().0, after);
    });
}
