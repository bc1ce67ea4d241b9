//! Access to the disk: everything that the journal asks of a file system, and nothing else, so that a test can stand in
//! for a disk that is full, fails, or loses power.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, flock};
use rustix::io::Errno;

/// One folder of files.
pub trait Disk: Send + Sync {
    /// The names in the folder, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file; one of that name must not be there.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and, where `write`, for writing.
    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn File>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all that was created, renamed and removed survive a power cut.
    fn sync_names(&self) -> io::Result<()>;
}

/// One open file. Offsets are given each time, so that one handle serves several threads.
pub trait File: Send + Sync {
    /// Reads up to a buffer full; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some or all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written survive a power cut.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file, or lengthens it by zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Sets space aside and lengthens the file by zeros. `false`: this file system cannot.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<bool>;
    /// Says that these bytes, which are synced, will hardly be read soon: memory need not hold them.
    fn forget(&self, offset: u64, bytes: u64);
    /// How long the file is.
    fn bytes(&self) -> io::Result<u64>;
}

/// Writes all of `bytes`, however many calls that takes.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A folder of the operating system's.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder, for its owner's eyes alone: what is kept in it names people.
    pub(crate) fn make(&self) -> io::Result<()> {
        let missing: Vec<_> = self.0.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        // A new folder's name stands in the folder above it: without this, a power cut could take the journal with it.
        for folder in missing {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(above)?.sync_all()?;
        }
        Ok(())
    }

    /// Takes the folder's lock, or `None` when another process has it. The operating system gives it back when the
    /// process ends, however it ends.
    pub(crate) fn lock(&self) -> io::Result<Option<Lock>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(self.0.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The folder is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

/// Payloads are for the owner's eyes alone.
const FILE_MODE: u32 = 0o600;

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.0)? {
            names.extend(file?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(FILE_MODE);
        Ok(Box::new(options.open(self.0.join(name))?))
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).write(write).open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        fs::File::open(&self.0)?.sync_all()
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        fs::File::set_len(self, bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        match fallocate(self, FallocateFlags::empty(), offset, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, offset: u64, bytes: u64) {
        // A hint: an error changes nothing.
        let _ = fadvise(self, offset, NonZeroU64::new(bytes), Advice::DontNeed);
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
