//! `tollgate-backend new-epoch`: for a database that was filled from a dump, which brings back everything that could tell.

use anyhow::Context as _;
use tollgate_shared::Rng;
use tracing::info;

use crate::config::Config;
use crate::events;
use crate::schema::MIGRATIONS;
use tollgate_db::Db;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let db = Db::open(&config.database_url, &MIGRATIONS).context("could not open DATABASE_URL")?;
    let begun = events::begin_another(&db, &Rng::system()).await.context("could not begin another epoch");
    db.close().await;
    begun?;
    info!("a new epoch has begun: each desktop app is told that it may have missed something, and all that is kept");
    Ok(())
}
