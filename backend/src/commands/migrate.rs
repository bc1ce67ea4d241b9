//! `tollgate-backend migrate`: for deployments that migrate apart from the start (`DATABASE_MIGRATE=off`).

use anyhow::Context as _;
use tracing::info;

use crate::config::Config;
use crate::schema::MIGRATIONS;
use tollgate_db::Db;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let db = Db::open(&config.database_url, &MIGRATIONS).context("could not open DATABASE_URL")?;
    let migrated = db.migrate().await.context("could not migrate the database");
    db.close().await;
    migrated?;
    info!("the database is up to date");
    Ok(())
}
