//! A disk in memory that can be made to fail at its n-th operation, to be full, and to lose power: it knows which bytes
//! and which names were synced, and keeps of the others what chance wills. As on Linux, what was dirty when an
//! `fdatasync` failed is never written by a later one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, File};

/// What reaches the disk as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<Sim>>);

#[derive(Default)]
struct Sim {
    names: BTreeMap<String, usize>,
    names_synced: BTreeMap<String, usize>,
    files: Vec<SimFile>,
    /// Writing operations so far.
    operations: u64,
    fault: Option<Fault>,
    /// Bytes that all files together may have.
    room: Option<usize>,
}

#[derive(Clone, Default)]
struct SimFile {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that were dirty when a sync failed: the page cache shows them, no later sync writes them.
    lost: Vec<bool>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1.
    pub(super) at_operation: u64,
    pub(super) kind: FaultKind,
    /// All later operations fail too.
    pub(super) stays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The operation does nothing and fails.
    Error,
    /// There is no room.
    NoRoom,
    /// A write writes half, and only the next operation fails; any other operation fails.
    Short,
    /// A write writes half and fails at once.
    Torn,
}

pub(super) struct Handle {
    disk: SimDisk,
    file: usize,
}

enum Verdict {
    Fine,
    /// Do half of it.
    Half,
    /// Do half of it and fail.
    HalfThenFail(io::Error),
}

impl Sim {
    fn judge(&mut self) -> io::Result<Verdict> {
        self.operations += 1;
        let Some(fault) = self.fault else { return Ok(Verdict::Fine) };
        let due = self.operations == fault.at_operation;
        let after = self.operations > fault.at_operation;
        let next = self.operations == fault.at_operation + 1;
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let broken = || io::Error::other("injected");
        match fault.kind {
            FaultKind::Error if due || after && fault.stays => Err(broken()),
            FaultKind::NoRoom if due || after && fault.stays => Err(full()),
            FaultKind::Short if due => Ok(Verdict::Half),
            FaultKind::Short if next || after && fault.stays => Err(full()),
            FaultKind::Torn if due => Ok(Verdict::HalfThenFail(broken())),
            FaultKind::Torn if after && fault.stays => Err(broken()),
            _ => Ok(Verdict::Fine),
        }
    }

    /// An operation that is done or not.
    fn operate(&mut self) -> io::Result<()> {
        match self.judge()? {
            Verdict::Fine => Ok(()),
            Verdict::Half => Err(io::ErrorKind::Interrupted.into()),
            Verdict::HalfThenFail(error) => Err(error),
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].now.len()).sum()
    }

    fn lengthen(&mut self, file: usize, bytes: usize) -> io::Result<()> {
        let more = bytes.saturating_sub(self.files[file].now.len());
        if self.room.is_some_and(|room| self.used() + more > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if more > 0 {
            self.files[file].now.resize(bytes, 0);
        }
        Ok(())
    }
}

impl SimDisk {
    fn sim(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.sim().fault = fault;
    }

    pub(super) fn operations(&self) -> u64 {
        self.sim().operations
    }

    pub(super) fn set_room(&self, room: Option<usize>) {
        self.sim().room = room;
    }

    pub(super) fn used(&self) -> usize {
        self.sim().used()
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut sim = self.sim();
        let file = sim.files.len();
        sim.files.push(SimFile { now: bytes.to_vec(), synced: bytes.to_vec(), lost: Vec::new() });
        sim.names.insert(name.to_owned(), file);
        sim.names_synced.insert(name.to_owned(), file);
    }

    pub(super) fn bytes_of(&self, name: &str) -> Vec<u8> {
        let sim = self.sim();
        sim.files[sim.names[name]].now.clone()
    }

    /// The same files as another process would find them after this one was killed: nothing that was written is lost.
    pub(super) fn after_kill(&self) -> Self {
        let sim = self.sim();
        let after = Sim {
            names: sim.names.clone(),
            files: sim.files.clone(),
            names_synced: sim.names_synced.clone(),
            ..Sim::default()
        };
        Self(Arc::new(Mutex::new(after)))
    }

    /// What a power cut leaves: all that was synced, and of each other sector, length and name what `keep` says.
    pub(super) fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let sim = self.sim();
        // What was created, renamed or removed without a sync has happened to a file or not.
        let name_in = |names: &BTreeMap<String, usize>, file: usize| {
            names.iter().find(|(_, other)| **other == file).map(|(name, _)| name.clone())
        };
        let mut names = BTreeMap::new();
        for file in 0..sim.files.len() {
            let (now, synced) = (name_in(&sim.names, file), name_in(&sim.names_synced, file));
            let name = if now != synced && keep() { now } else { synced };
            names.extend(name.map(|name| (name, file)));
        }
        let files = sim.files.iter().map(|file| file.after_power_cut(&mut keep)).collect();
        Self(Arc::new(Mutex::new(Sim { names_synced: names.clone(), names, files, ..Sim::default() })))
    }
}

impl SimFile {
    fn after_power_cut(&self, keep: &mut impl FnMut() -> bool) -> Self {
        let length = if keep() { self.now.len() } else { self.synced.len() };
        let mut bytes = vec![0; length];
        for (number, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let at = number * SECTOR;
            let part = |of: &[u8]| -> Vec<u8> { of.iter().skip(at).take(sector.len()).copied().collect() };
            let (now, synced) = (part(&self.now), part(&self.synced));
            let dirty = now != synced;
            let kept = if dirty && keep() { now } else { synced };
            sector[..kept.len()].copy_from_slice(&kept);
        }
        Self { synced: bytes.clone(), now: bytes, lost: Vec::new() }
    }

    fn is_lost(&self, sector: usize) -> bool {
        self.lost.get(sector).copied().unwrap_or(false)
    }

    fn sync(&mut self) {
        let mut synced = self.now.clone();
        for (number, sector) in synced.chunks_mut(SECTOR).enumerate() {
            if self.is_lost(number) {
                let at = number * SECTOR;
                let before: Vec<u8> = self.synced.iter().skip(at).take(sector.len()).copied().collect();
                sector.fill(0);
                sector[..before.len()].copy_from_slice(&before);
            }
        }
        self.synced = synced;
    }

    fn fail_sync(&mut self) {
        let sectors = self.now.len().div_ceil(SECTOR);
        self.lost = (0..sectors)
            .map(|number| {
                let range =
                    |of: &Vec<u8>| -> Vec<u8> { of.iter().skip(number * SECTOR).take(SECTOR).copied().collect() };
                self.is_lost(number) || range(&self.now) != range(&self.synced)
            })
            .collect();
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.sim().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut sim = self.sim();
        sim.operate()?;
        if sim.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = sim.files.len();
        sim.files.push(SimFile::default());
        sim.names.insert(name.to_owned(), file);
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn open(&self, name: &str, _write: bool) -> io::Result<Box<dyn File>> {
        let file = *self.sim().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut sim = self.sim();
        sim.operate()?;
        let file = sim.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        sim.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut sim = self.sim();
        sim.operate()?;
        sim.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut sim = self.sim();
        sim.operate()?;
        sim.names_synced = sim.names.clone();
        Ok(())
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let sim = self.disk.sim();
        let rest = sim.files[self.file].now.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut sim = self.disk.sim();
        let (length, failure) = match sim.judge()? {
            Verdict::Fine => (bytes.len(), None),
            Verdict::Half => (bytes.len().div_ceil(2), None),
            Verdict::HalfThenFail(error) => (bytes.len() / 2, Some(error)),
        };
        let (start, end) = (offset as usize, offset as usize + length);
        sim.lengthen(self.file, end)?;
        let file = &mut sim.files[self.file];
        file.now[start..end].copy_from_slice(&bytes[..length]);
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            if let Some(lost) = file.lost.get_mut(sector) {
                *lost = false;
            }
        }
        failure.map_or(Ok(length), Err)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut sim = self.disk.sim();
        let judged = sim.operate();
        let file = &mut sim.files[self.file];
        match judged {
            Ok(()) => file.sync(),
            Err(_) => file.fail_sync(),
        }
        judged
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut sim = self.disk.sim();
        sim.operate()?;
        sim.lengthen(self.file, bytes as usize)?;
        sim.files[self.file].now.truncate(bytes as usize);
        Ok(())
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        let mut sim = self.disk.sim();
        sim.operate()?;
        sim.lengthen(self.file, (offset + bytes) as usize)?;
        Ok(true)
    }

    fn forget(&self, _offset: u64, _bytes: u64) {}

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.sim().files[self.file].now.len() as u64)
    }
}
