//! The folder of releases' files.
//!
//! A file is written beside its place, synced, and only then put there, under a name that has its digest in it: so what lies
//! there is whole, and never takes the place of something else. Whoever puts one there or removes it holds its row in the
//! database meanwhile, so that what has come again is not removed. What somebody changed there later is never served: of each file
//! it is remembered by which size, times and number in its file system it was last found to be good, and as soon as one of
//! those is another one it is read and compared again. A change while it is being sent ends the answer.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha512};
use tokio::sync::Mutex as TurnMutex;
use tokio::task::spawn_blocking;
use tollgate_domain::releases::StoredFile;
use tollgate_domain::releases::version::stored_name;
use tollgate_shared::Rng;

/// How many files are remembered: more than any product has.
const REMEMBERED_MAX: usize = 10_000;

/// How much is read at once.
const PIECE_BYTES: usize = 128 << 10;

/// How the name of a file begins that is not whole yet.
const UNFINISHED: &str = ".unfinished-";

/// After how long such a file is nobody's: whoever wrote it has died.
const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The folder. Clones are the same.
#[derive(Clone)]
pub struct Shelf {
    folder: Arc<Path>,
    known: Arc<Mutex<HashMap<String, (Look, bool)>>>,
    /// One file is read through at a time, however many ask for it.
    turn: Arc<TurnMutex<()>>,
}

/// What a file system says of a file: another one once its bytes have changed, whatever their times are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    size: u64,
    device: u64,
    number: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            device: metadata.dev(),
            number: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// It is not there, or not as it was published.
    #[error("it is not there as it was published")]
    Changed,
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file that is as it was published.
#[derive(Clone, Debug)]
pub struct Shelved {
    file: Arc<File>,
    look: Look,
}

impl Shelf {
    /// The folder `RELEASES_DIR`, which need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), known: Arc::default(), turn: Arc::default() }
    }

    /// A file, if it is as it was published.
    pub async fn open(&self, of: &StoredFile) -> Result<Shelved, ShelfError> {
        let path = self.path_of(&of.name, &of.sha512);
        let opened = spawn_blocking(move || File::open(path)).await.map_err(io::Error::other)?;
        let file = Arc::new(opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ShelfError::Changed,
            _ => error.into(),
        })?);
        let look = Look::of(&file.metadata()?);
        if let Some(is_good) = self.known(&of.name, look) {
            return if is_good { Ok(Shelved { file, look }) } else { Err(ShelfError::Changed) };
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have read it.
        let is_good = if let Some(is_good) = self.known(&of.name, look) {
            is_good
        } else {
            let (read, sha512, size) = (Arc::clone(&file), of.sha512.clone(), of.size);
            let is_good = spawn_blocking(move || {
                let is_good = look.size == size as u64 && digest(&read)? == sha512;
                // Nor may it have changed meanwhile.
                Ok::<_, io::Error>(is_good && Look::of(&read.metadata()?) == look)
            });
            let is_good = is_good.await.map_err(io::Error::other)??;
            self.remember(&of.name, look, is_good);
            is_good
        };
        if is_good { Ok(Shelved { file, look }) } else { Err(ShelfError::Changed) }
    }

    /// A place for a file that comes.
    pub fn begin(&self, rng: &Rng) -> io::Result<Unfinished> {
        fs::create_dir_all(&self.folder)?;
        self.forget_unfinished();
        let path = self.folder.join(format!("{UNFINISHED}{}", hex::encode(rng.bytes::<16>())));
        let file = File::create_new(&path)?;
        Ok(Unfinished { file, path, shelf: self.clone() })
    }

    /// Removes a file. One that is not there is no matter. To be called by who holds its row.
    pub fn remove(&self, of: &StoredFile) -> io::Result<()> {
        match fs::remove_file(self.path_of(&of.name, &of.sha512)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what those left who died while they wrote.
    fn forget_unfinished(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNFINISHED_KEPT));
            if is_unfinished && is_old {
                // It may be gone already: others look too.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path_of(&self, name: &str, sha512: &str) -> PathBuf {
        self.folder.join(stored_name(name, sha512))
    }

    /// Whether a file that looks so is as it was published, if that is known.
    fn known(&self, name: &str, look: Look) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|(known, _)| *known == look).map(|(_, is_good)| *is_good)
    }

    fn remember(&self, name: &str, look: Look, is_good: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), (look, is_good));
    }
}

/// The SHA-512 of a file's bytes, in base64.
fn digest(file: &File) -> io::Result<String> {
    let (mut reader, mut hash, mut piece) = (file, Sha512::new(), vec![0; PIECE_BYTES]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(BASE64_STANDARD.encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

impl Shelved {
    /// Some of its bytes from the beginning of `part`, which is not empty. An error once the file is another one.
    pub async fn read(&self, part: &Range<u64>) -> io::Result<Bytes> {
        let Self { file, look } = self.clone();
        let (at, bytes) = (part.start, (part.end - part.start).min(PIECE_BYTES as u64) as usize);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; bytes];
            file.read_exact_at(&mut piece, at)?;
            let is_same = Look::of(&file.metadata()?) == look;
            is_same.then(|| piece.into()).ok_or_else(|| io::Error::other("the file was changed while it was sent"))
        });
        read.await.map_err(io::Error::other)?
    }
}

/// A file that comes. Dropped before it is kept, it never was there.
pub struct Unfinished {
    file: File,
    path: PathBuf,
    shelf: Shelf,
}

impl Unfinished {
    /// Where its bytes go.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Has all of it on disk: nobody may change it any more.
    pub async fn finish(&self) -> io::Result<()> {
        let file = self.file()?;
        let finished = spawn_blocking(move || {
            file.set_permissions(Permissions::from_mode(0o444))?;
            file.sync_all()
        });
        finished.await.map_err(io::Error::other)?
    }

    /// Puts it in its place, once it is finished. To be called by who holds its row: no more than a name changes.
    pub fn keep(&self, name: &str, sha512: &str) -> io::Result<()> {
        fs::rename(&self.path, self.shelf.path_of(name, sha512))?;
        File::open(&self.shelf.folder)?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where it was kept it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn stored(bytes: &[u8]) -> StoredFile {
        StoredFile {
            name: "app.zip".to_owned(),
            size: bytes.len() as i64,
            sha512: BASE64_STANDARD.encode(Sha512::digest(bytes)),
            stored_at: None,
            removed_at: None,
        }
    }

    async fn put(shelf: &Shelf, bytes: &[u8]) -> StoredFile {
        let unfinished = shelf.begin(&Rng::system()).unwrap();
        unfinished.file().unwrap().write_all(bytes).unwrap();
        let stored = stored(bytes);
        unfinished.finish().await.unwrap();
        unfinished.keep(&stored.name, &stored.sha512).unwrap();
        stored
    }

    fn is_changed(opened: Result<Shelved, ShelfError>) -> bool {
        matches!(opened, Err(ShelfError::Changed))
    }

    #[tokio::test]
    async fn what_was_put_there_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(&folder.path().join("not there yet"));
        let file = put(&shelf, b"0123456789").await;
        assert_eq!(&shelf.open(&file).await.unwrap().read(&(2..5)).await.unwrap()[..], b"234");
        assert!(is_changed(shelf.open(&stored(b"another")).await));
    }

    #[tokio::test]
    async fn what_was_changed_is_not_served_even_at_its_old_time() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        let file = put(&shelf, b"0123456789").await;
        let opened = shelf.open(&file).await.unwrap();
        let path = shelf.path_of(&file.name, &file.sha512);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"0123456780").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(is_changed(shelf.open(&file).await));
        assert!(is_changed(shelf.open(&file).await), "nor the second time");
        assert!(opened.read(&(0..10)).await.is_err(), "nor to who had begun");
        // Another process, which has never seen it.
        assert!(is_changed(Shelf::new(folder.path()).open(&file).await));
        fs::write(&path, b"0123456789").unwrap();
        assert!(shelf.open(&file).await.is_ok(), "put right again it is good");
        fs::remove_file(&path).unwrap();
        assert!(is_changed(shelf.open(&file).await));
    }

    #[tokio::test]
    async fn what_does_not_come_whole_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        drop(shelf.begin(&Rng::system()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // One whose process died is removed a day later.
        let left = folder.path().join(format!("{UNFINISHED}left"));
        let file = File::create(&left).unwrap();
        drop(shelf.begin(&Rng::system()).unwrap());
        assert!(left.exists());
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - UNFINISHED_KEPT - Duration::from_secs(60)).unwrap();
        drop(shelf.begin(&Rng::system()).unwrap());
        assert!(!left.exists());
    }
}
