//! A database that is not the one that it was.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate_db::Engine;
use tollgate_db::testing::{Database, block_on};
use tollgate_shared::Rng;

use super::*;
use crate::events;
use crate::schema::testing::migrated;

/// What a client sees that shows `cursor`: whether there is a gap, before the first event.
async fn has_gap(app: &TestApp, key: &str, cursor: &str) -> bool {
    let mut listener = Listener::open(&app.client, key, Some(cursor)).await;
    assert_eq!(listener.next().await.unwrap().event, "connected");
    listener.next().await.unwrap().event == "gap"
}

#[test]
fn a_new_epoch_is_told_to_those_who_stream_and_to_those_who_come_back() {
    on_each_engine!(async |db| {
        let (app, key, cursor) = with_license(db.clone()).await;
        happen(&app.inner, 1).await;
        let mut listener = Listener::open(&app.client, &key, Some(&cursor)).await;
        assert_eq!(listener.next().await.unwrap().event, "connected");
        assert_eq!(listener.numbers(1).await, [1]);
        events::begin_another(&db, &Rng::seeded(9)).await.unwrap();
        let gap = listener.next().await.unwrap();
        assert_eq!(gap.event, "gap");
        let newest = gap.data["newest"].as_str().unwrap();
        assert_ne!(newest.split_once('.').unwrap().0, cursor.split_once('.').unwrap().0);
        let again: Vec<_> = join_next(&mut listener, seq_of(newest)).await;
        assert_eq!(again.last().and_then(|told| told.id.as_deref()), Some(newest), "all that is kept, to the newest");
        assert!(has_gap(&app, &key, &cursor).await);
        happen(&app.inner, 2).await;
        assert!(!has_gap(&app, &key, newest).await);
    });
}

async fn join_next(listener: &mut Listener<'_>, count: i64) -> Vec<Told> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(listener.next().await.unwrap());
    }
    told
}

/// A backup of a SQLite file is put back: alone, or with all that was beside it, in the place of the files or over them.
#[derive(Clone, Copy, Debug)]
enum Restored {
    FileAlone,
    FolderMadeAgain,
    FolderWrittenOver,
}

#[test]
fn a_file_that_was_restored_is_noticed_at_the_next_start() {
    block_on(async {
        for how in [Restored::FileAlone, Restored::FolderMadeAgain, Restored::FolderWrittenOver] {
            restored_is_noticed(how).await;
        }
    });
}

async fn restored_is_noticed(how: Restored) {
    let database = migrated(Engine::Sqlite).await;
    let file = database.open().url().file().unwrap().to_owned();
    let (key, _) = stopped_after(&database, async |_, _| ()).await;
    let folder = file.parent().unwrap();
    let backup = files_in(folder);
    assert!(backup.len() > 1, "there is a mark beside it: {how:?}");

    let (_, forgotten) = stopped_after(&database, async |app, _| happen(&app.inner, 1).await).await;
    // A start without a restoration changes nothing.
    stopped_after(&database, async |app, key| {
        happen(&app.inner, 2).await;
        assert!(!has_gap(app, key, &forgotten).await, "{how:?}");
    })
    .await;

    for (path, bytes) in &backup {
        match how {
            Restored::FileAlone if *path != file => {}
            Restored::FileAlone | Restored::FolderWrittenOver => fs::write(path, bytes).unwrap(),
            Restored::FolderMadeAgain => {
                fs::remove_file(path).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    }
    let app = another_on(database.open()).await;
    events::settle(&app.inner.db, &app.inner.rng).await.unwrap();
    // More events than were forgotten, and others: a number alone would not tell.
    for number in 3..=6 {
        happen(&app.inner, number).await;
    }
    assert!(has_gap(&app, &key, &forgotten).await, "{how:?}");
    app.inner.db.close().await;
}

/// Starts, does something, and stops; gives the licence's key and where its log is at.
async fn stopped_after(database: &Database, work: impl AsyncFn(&TestApp, &str)) -> (String, String) {
    let db = database.open();
    let app = another_on(db.clone()).await;
    if app.get("/v1/customers/cus_1").await.status == 404 {
        app.take_a_subscriber().await;
    }
    let (key, _) = license_of(&app).await;
    work(&app, &key).await;
    let (_, cursor) = license_of(&app).await;
    app.client.rocket().state::<Streams>().unwrap().stopped().await;
    app.inner.tasks.stop();
    db.close().await;
    (key, cursor)
}

fn files_in(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_server_knows_what_a_backup_does_not_bring_back() {
    block_on(async {
        let (one, other) = (migrated(Engine::Postgres).await, migrated(Engine::Postgres).await);
        let identity =
            async |database: &Database| database.open().read().await.unwrap().identity("license_events").await.unwrap();
        assert_eq!(identity(&one).await, identity(&one).await);
        assert_ne!(identity(&one).await, identity(&other).await, "two databases of one server");
        let before = identity(&one).await;
        let db = one.open();
        let mut tx = db.write().await.unwrap();
        for sql in ["ALTER TABLE license_events RENAME TO before", "CREATE TABLE license_events (LIKE before)"] {
            tx.sql(sql).run().await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_ne!(identity(&one).await, before, "a dump makes its tables again");
        db.close().await;
    });
}
