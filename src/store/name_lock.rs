//! A lock on the names of a folder that also holds against other processes: nodes may share a folder.
//!
//! What compares versions and then renames must not be overtaken in between, or an older image would take the place of
//! a newer one. The lock is held for some 20 µs, and the kernel gives it back when its holder ends.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Error, failed};
use super::work::WorkFolder;
use crate::durable::Folder;

const FILE: &str = "names.lock";

pub(crate) struct FolderLock {
    /// The lock belongs to the open file, so the threads of this process need one of their own.
    opened: Mutex<LockFile>,
    /// Other processes use the folder. As long as there are none, a caller that has the name to itself needs no lock.
    is_shared: AtomicBool,
}

struct LockFile {
    file: File,
    /// The work folder that it is in, which may have been made anew since.
    within: Arc<Folder>,
}

impl LockFile {
    fn open(work: &WorkFolder) -> Result<LockFile, Error> {
        let within = work.folder();
        let file = within.open_lock_file(FILE)?;
        Ok(LockFile { file, within })
    }
}

/// The lock, until dropped.
pub(crate) struct FolderGuard<'l>(MutexGuard<'l, LockFile>);

impl FolderLock {
    pub(super) fn open(work: &WorkFolder) -> Result<FolderLock, Error> {
        Ok(FolderLock {
            opened: Mutex::new(LockFile::open(work)?),
            is_shared: AtomicBool::new(true),
        })
    }

    pub(super) fn set_shared(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Release);
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Acquire)
    }

    /// `None`: nobody else uses the folder.
    pub(super) fn lock(&self, work: &WorkFolder) -> Result<Option<FolderGuard<'_>>, Error> {
        if !self.is_shared() {
            return Ok(None);
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&opened.within, &work.folder()) {
            *opened = LockFile::open(work)?;
        }
        loop {
            match flock(&opened.file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Some(FolderGuard(opened))),
                Err(Errno::INTR) => {}
                Err(e) => return Err(failed("lock", FILE.as_ref(), &e.into())),
            }
        }
    }
}

impl Drop for FolderGuard<'_> {
    fn drop(&mut self) {
        // If it fails, the kernel gives it back when the file is closed.
        let _ = flock(&self.0.file, FlockOperation::Unlock);
    }
}
