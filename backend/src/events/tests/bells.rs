//! Bells between two processes on one database.

use tollgate_db::Engine;
use tollgate_db::testing::{Database, block_on};
use tollgate_shared::Rng;

use super::*;
use crate::bells::{Bells, exchange};
use crate::schema::testing::migrated;

/// An app on `database` whose bells ring across processes.
async fn connected(database: &Database) -> TestApp {
    let app = another_on(database.open()).await;
    // Each process has a name of its own.
    let inner = App { bells: Bells::new(&Rng::system()), ..app.inner.clone() };
    exchange::start(&inner.bells, &inner.tasks, &inner.rng, &inner.db, &database.url().parse().unwrap(), None);
    wait_until("it hears the others", async || inner.bells.line() == ("postgres", true)).await;
    TestApp { inner, ..app }
}

#[test]
fn two_processes_on_one_server_ring_for_each_other() {
    block_on(async {
        let database = migrated(Engine::Postgres).await;
        let (first, key, _) = with_license(database.open()).await;
        let (here, there) = (connected(&database).await, connected(&database).await);
        let client = client_of(&here.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        for number in 1..=3 {
            happen(&there.inner, number).await;
            assert_eq!(listener.numbers(1).await, [number]);
        }
        drop(first);
    });
}

#[test]
fn a_process_whose_listening_connection_is_cut_listens_again() {
    block_on(async {
        let database = migrated(Engine::Postgres).await;
        let (_first, key, _) = with_license(database.open()).await;
        let (here, there) = (connected(&database).await, connected(&database).await);
        let client = client_of(&here.inner, WITHOUT_POLL).await;
        let mut listener = Listener::open(&client, &key, None).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let (ended,): (i64,) = there.inner.db.read().await.unwrap().sql(cut).one().await.unwrap();
        assert_eq!(ended, 2);
        // Told while nobody listens, or once somebody does again: either way it is looked for.
        happen(&there.inner, 1).await;
        assert_eq!(listener.numbers(1).await, [1]);
        for app in [&here, &there] {
            wait_until("it hears the others again", async || app.inner.bells.line() == ("postgres", true)).await;
        }
        happen(&there.inner, 2).await;
        assert_eq!(listener.numbers(1).await, [2]);
    });
}
