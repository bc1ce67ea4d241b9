//! Removes the files of releases that were withdrawn long ago.

use std::collections::BTreeSet;

use tollgate_db::DbError;
use tollgate_db::page::Position;
use tollgate_domain::apply::Touched;
use tollgate_domain::releases::{self, Wanted, life};
use tollgate_shared::Timestamp;
use tracing::warn;

use super::shelf::Shelf;
use crate::app::App;
use crate::write::WriteError;

/// Releases that are looked at at once.
const RELEASES_AT_ONCE: i64 = 50;

/// Removes what nobody is served any more; says how many files. That they are gone is written first: what is left over by a
/// crash between the two takes room, and what were missing would be asked for.
pub async fn remove(app: &App) -> Result<u64, DbError> {
    let (shelf, mut removed) = (Shelf::new(&app.config.releases_dir), 0);
    let mut next = Some(Position { at: Timestamp::UNIX_EPOCH, id: String::new() });
    while let Some(after) = next {
        let mut tx = app.read_list().await?;
        let (files, last) = releases::removable(&mut tx, app.clock.now(), &after, RELEASES_AT_ONCE).await?;
        drop(tx);
        next = last;
        for file in &files {
            let names = BTreeSet::from([file.name.clone()]);
            let wanted = Wanted { names, with_their_releases: true, ..Wanted::default() };
            let touched = Touched::releases(wanted);
            let forgotten = app.write(&touched, |work| Ok::<_, DbError>(life::forget(work, &file.name)));
            match forgotten.await {
                Err(WriteError::Database(failure) | WriteError::Refused(failure)) => return Err(failure),
                Err(WriteError::Panicked) => return Ok(removed),
                // It has become somebody's again meanwhile.
                Ok((false, _)) => continue,
                Ok((true, _)) => removed += 1,
            }
            if let Err(failure) = shelf.remove(file).await {
                warn!("could not remove file {} of a withdrawn release: {failure}", file.name);
            }
        }
    }
    Ok(removed)
}
