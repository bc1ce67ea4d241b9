//! The backend's inbox without HTTP, beside inserting the bare payloads into the same engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;
use tollgate_backend::app::App;
use tollgate_backend::config::Config;
use tollgate_backend::schema::MIGRATIONS;
use tollgate_backend::webhooks::inbox::{Inbox, Outcome};
use tollgate_db::Db;
use tollgate_shared::env::Env;
use tollgate_shared::{Clock, RequestId, Rng};
use tollgate_tests::stack::WIDGETS;
use tollgate_tests::stripe::catalogue::PLANS;
use tollgate_tests::{Database, Engine};

use crate::bare_inserts::BareInserts;
use crate::budget::{Budget, Figure, Limit};
use crate::{AT_ONCE, Effort, events};

pub(crate) async fn measure_postgres(effort: Effort) -> Result<Vec<Budget>> {
    let name = "write-postgres";
    let (inbox, bare) = rounds(Engine::Postgres, effort, by_subscription()?).await?;
    let (for_good, beside) = rounds(Engine::Postgres, effort, PLANS).await?;
    Ok(vec![
        budget(name, "write path alone, PostgreSQL, 64 waiting", inbox, bare),
        budget(name, "… with a plan that is sold for good", for_good, beside),
    ])
}

pub(crate) async fn measure_sqlite(effort: Effort) -> Result<Vec<Budget>> {
    let name = "write-sqlite";
    let (inbox, bare) = rounds(Engine::Sqlite, effort, by_subscription()?).await?;
    let (for_good, beside) = rounds(Engine::Sqlite, effort, PLANS).await?;
    Ok(vec![
        budget(name, "write path alone, SQLite, 64 waiting", inbox, bare),
        budget(name, "… with a plan that is sold for good", for_good, beside),
    ])
}

/// What is sold by subscription alone, as most do: whoever sells something for good has more to look up, since a payment
/// may then buy something.
fn by_subscription() -> Result<&'static str> {
    let (plans, _) = PLANS.split_once("[[plan]]\nid = \"lifetime\"").context("the catalogue sells nothing for good")?;
    Ok(plans)
}

fn budget(name: &'static str, what: &'static str, measured: Figure, bare: Figure) -> Budget {
    let reference = Some(("the bare payloads, 64 a transaction", bare));
    Budget { name, what, unit: "events/s", measured, reference, limit: Limit::AtLeastShare(0.6) }
}

/// Events a second of the inbox and of bare inserts, in turn.
async fn rounds(engine: Engine, effort: Effort, plans: &str) -> Result<(Figure, Figure)> {
    // Synced to disk, as in production. The bare payloads have a database of their own on the same server and disk.
    let database = engine.durable_database().await;
    let beside = database.copy().await;
    age(&database).await?;
    let inbox = open(&database, plans).await?;
    let mut bare = BareInserts::open(&beside.url()).await?;
    let (mut ours, mut theirs) = (Figure::default(), Figure::default());
    for round in 0..=effort.rounds {
        // The first round warms up and does not count.
        let count = if round == 0 { AT_ONCE * 16 } else { effort.events };
        let payloads: Vec<Bytes> = events::fresh(count).into_iter().map(|event| event.body).collect();
        let started = Instant::now();
        for batch in payloads.chunks(AT_ONCE) {
            bare.insert(batch).await?;
        }
        let bare_took = started.elapsed();
        let started = Instant::now();
        take(&inbox, payloads).await?;
        if round > 0 {
            ours.push(count as f64 / started.elapsed().as_secs_f64());
            theirs.push(count as f64 / bare_took.as_secs_f64());
        }
    }
    Ok((ours, theirs))
}

/// Gives all of them to the inbox, each of [`AT_ONCE`] callers its next one when it has an answer.
async fn take(inbox: &Inbox, payloads: Vec<Bytes>) -> Result<()> {
    let (payloads, next) = (Arc::new(payloads), Arc::new(AtomicUsize::new(0)));
    let request_id = RequestId::new(Clock::system().now(), &Rng::system());
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (inbox, payloads, next) = (inbox.clone(), Arc::clone(&payloads), Arc::clone(&next));
            let request_id = request_id.clone();
            tokio::spawn(async move {
                while let Some(payload) = payloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let taken = inbox.take(payload.clone(), &request_id).await;
                    let (_, outcome) =
                        taken.map_err(|(_, refused)| anyhow!("the inbox refused an event: {refused}"))?;
                    ensure!(
                        matches!(outcome, Outcome::Processed | Outcome::Ignored),
                        "a fresh event came to {outcome:?}"
                    );
                }
                Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await.context("a caller of the inbox panicked")??;
    }
    Ok(())
}

/// Lets a new PostgreSQL server write as much log as one that has run for a while: it uses those files again, while each
/// new one costs 16 MB of zeros at a sync (measured: 50 ms, in the middle of a commit).
pub(crate) async fn age(database: &Database) -> Result<()> {
    if database.engine() == Engine::Sqlite {
        return Ok(());
    }
    let mut connection = PgConnection::connect(&database.url()).await?;
    for statement in ["ALTER SYSTEM SET min_wal_size = '640MB'", "SELECT pg_reload_conf()"] {
        connection.execute(statement).await?;
    }
    for _ in 0..64 {
        connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 8 * 1024 * 1024))").await?;
    }
    connection.execute("CHECKPOINT").await?;
    Ok(connection.close().await?)
}

async fn open(database: &Database, plans: &str) -> Result<Inbox> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let key = "k".repeat(32);
    let (plans, widgets) = (file("plans.toml", plans)?, file("widgets.json", WIDGETS)?);
    let url = database.url();
    let variables = [
        ("DATABASE_URL", &*url),
        ("INTERNAL_API_KEY", "internal"),
        ("AUTH_SECRET", "auth"),
        ("CRON_SECRET", "cron"),
        ("ENCRYPTION_KEY", &*key),
        ("PLANS_FILE", plans.to_str().context("a temporary folder has a name of UTF-8")?),
        ("WIDGETS_FILE", widgets.to_str().context("a temporary folder has a name of UTF-8")?),
    ];
    let env = Env::from_vars(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let config = Config::from_env(&env)?;
    let db = Db::open(&config.database_url, &MIGRATIONS)?;
    db.migrate().await?;
    Ok(Inbox::open(App::new(Arc::new(config), db, Clock::system(), Rng::system())))
}
