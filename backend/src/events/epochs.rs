//! The epoch that this process serves its streams by, and the mark beside a SQLite file.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tollgate_db::{Db, DbError};
use tollgate_domain::events::cursor::Epoch;
use tollgate_domain::events::epoch::{self, Mark};
use tollgate_shared::Rng;
use tracing::{info, warn};

/// How much longer the mark is left as it is than it took to find out how it should be: that reads a row a licence.
const MARK_REST_FACTOR: u32 = 100;

/// The epoch, as it was last seen, and the mark, as it was last written.
pub(super) struct Epochs {
    /// None while it is not known: nothing was asked yet, or the database was away since.
    seen: Mutex<Option<Epoch>>,
    marking: tokio::sync::Mutex<Marking>,
}

struct Marking {
    /// None on PostgreSQL.
    path: Option<PathBuf>,
    written: Option<Mark>,
    next_at: Instant,
    is_settled: bool,
    has_failed: bool,
}

impl Epochs {
    pub(super) fn new(db: &Db) -> Self {
        let marking = Marking {
            path: db.url().file().map(mark_path),
            written: None,
            next_at: Instant::now(),
            is_settled: false,
            has_failed: false,
        };
        Self { seen: Mutex::default(), marking: tokio::sync::Mutex::new(marking) }
    }

    /// The same before the first stream, for a database that nobody prepared.
    pub(super) async fn settle(&self, db: &Db, rng: &Rng) -> Result<(), DbError> {
        let mut marking = self.marking.lock().await;
        if marking.is_settled {
            return Ok(());
        }
        if let Some(path) = &marking.path {
            if begin_another_if_restored(db, rng, read_mark(path).await.as_ref()).await? {
                info!("the database is not the one that was here before: streams begin another epoch");
            }
            marking.write(db).await?;
        }
        marking.is_settled = true;
        Ok(())
    }

    /// Writes the mark, unless that was done a moment ago; gives whether it is as it should be.
    pub(super) async fn mark(&self, db: &Db) -> Result<bool, DbError> {
        let mut marking = self.marking.lock().await;
        if marking.path.is_none() {
            return Ok(true);
        }
        if !marking.is_settled || Instant::now() < marking.next_at {
            return Ok(false);
        }
        marking.write(db).await?;
        Ok(true)
    }

    /// Writes the mark, if the database is there: the process is at its end.
    pub(super) async fn mark_for_good(&self, db: &Db) {
        let mut marking = self.marking.lock().await;
        if marking.is_settled
            && marking.path.is_some()
            && let Err(failure) = marking.write(db).await
        {
            warn!(reason = failure.class(), "could not note how far the event logs have come: {failure}");
        }
    }

    /// The epoch, if it is known.
    pub(super) fn seen(&self) -> Option<Epoch> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the epoch; gives whether it was another one before.
    pub(super) fn note(&self, epoch: Epoch) -> bool {
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(epoch);
        before.is_some_and(|before| before != epoch)
    }

    /// Notes that the database was away: what comes back may be another one.
    pub(super) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Marking {
    async fn write(&mut self, db: &Db) -> Result<(), DbError> {
        let Some(path) = &self.path else { return Ok(()) };
        let begun = Instant::now();
        let mark = epoch::mark(&mut db.read_stream().await?).await?;
        self.next_at = begun + MARK_REST_FACTOR * begun.elapsed();
        if self.written.as_ref() == Some(&mark) {
            return Ok(());
        }
        match write_mark(path, &mark).await {
            Ok(()) => (self.written, self.has_failed) = (Some(mark), false),
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                warn!("could not write {}: {error}; a restored backup may not be noticed", path.display());
            }
            Err(_) => {}
        }
        Ok(())
    }
}

async fn begin_another_if_restored(db: &Db, rng: &Rng, kept: Option<&Mark>) -> Result<bool, DbError> {
    let mut tx = db.write().await?;
    let is_restored = epoch::mark(&mut tx).await?.is_restored(kept);
    if is_restored {
        epoch::begin_another(&mut tx, rng).await?;
    }
    tx.commit().await?;
    Ok(is_restored)
}

/// Begins another epoch if a SQLite file was put in the place of the one that was there. To be done at a start, before
/// much is written: a restored file that has grown past its mark looks like one that has gone on.
pub async fn settle(db: &Db, rng: &Rng) -> Result<(), DbError> {
    Epochs::new(db).settle(db, rng).await
}

/// Begins another epoch, whatever the database is.
pub async fn begin_another(db: &Db, rng: &Rng) -> Result<(), DbError> {
    let mut tx = db.write().await?;
    epoch::begin_another(&mut tx, rng).await?;
    tx.commit().await?;
    let epochs = Epochs::new(db);
    let mut marking = epochs.marking.lock().await;
    marking.write(db).await
}

fn mark_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push("-mark");
    path.into()
}

/// The mark at `path`, if it was written there. One that was copied, with a backup of the whole folder, is as good as none:
/// it tells how far the backup had come, and not the database that it was put in the place of.
async fn read_mark(path: &Path) -> Option<Mark> {
    let text = fs::read_to_string(path).await.ok()?;
    let (mark, written_as) = text.trim_end().rsplit_once(' ')?;
    let is_original = written_as == name_of(&fs::metadata(path).await.ok()?);
    Mark::parse(mark).filter(|_| is_original)
}

/// Writes a mark, whole or not at all, with what tells its file from a copy of it.
async fn write_mark(path: &Path, mark: &Mark) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    // One that was left would be the same file again.
    let _ = fs::remove_file(&draft).await;
    let mut file = fs::File::create_new(&draft).await?;
    let name = name_of(&file.metadata().await?);
    file.write_all(format!("{} {name}\n", mark.to_text()).as_bytes()).await?;
    file.flush().await?;
    fs::rename(&draft, path).await
}

/// What a copy of a file has not in common with it, even where it is written over it: its number, which a later one may
/// get again, and when it was made, where the file system knows that.
fn name_of(file: &Metadata) -> String {
    let born = file.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    format!("{}-{}", file.ino(), born.map_or(0, |at| at.as_nanos()))
}
