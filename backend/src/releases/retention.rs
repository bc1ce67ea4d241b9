//! Removes the files of releases that were withdrawn long ago.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tollgate_db::page::Position;
use tollgate_db::{Changes, DbError};
use tollgate_domain::apply::Touched;
use tollgate_domain::releases::{self, StoredFile, Wanted, life};
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
            if forget(app, file).await? {
                removed += 1;
                take_away(app, &shelf, file).await?;
            }
        }
    }
    Ok(removed)
}

/// Notes that a file lies in the folder no longer; says whether that may be: it may have become somebody's again meanwhile.
pub(super) async fn forget(app: &App, file: &StoredFile) -> Result<bool, DbError> {
    let touched = Touched::releases(Wanted { with_their_releases: true, ..named(file) });
    written(app.write(&touched, |work| Ok(life::forget(work, &file.name))).await)
}

/// Takes away a file that was forgotten, unless it has come again since: whoever puts it in its place holds the same row.
pub(super) async fn take_away(app: &App, shelf: &Shelf, file: &StoredFile) -> Result<(), DbError> {
    let touched = Touched::releases(named(file));
    let taken = app.write(&touched, |work| {
        if !life::is_there(work, &file.name)
            && let Err(failure) = shelf.remove(file)
        {
            warn!("could not remove file {} of a withdrawn release: {failure}", file.name);
        }
        Ok(())
    });
    written(taken.await)
}

fn named(file: &StoredFile) -> Wanted {
    Wanted { names: BTreeSet::from([file.name.clone()]), ..Wanted::default() }
}

/// What a rule that never refuses has said; nothing where it panicked.
fn written<T: Default>(written: Result<(T, Changes), WriteError<Infallible>>) -> Result<T, DbError> {
    match written {
        Ok((said, _)) => Ok(said),
        Err(WriteError::Panicked) => Ok(T::default()),
        Err(WriteError::Database(failure)) => Err(failure),
        Err(WriteError::Refused(never)) => match never {},
    }
}
