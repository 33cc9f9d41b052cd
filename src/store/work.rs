//! The folder beside the images, for what is not an image: temporary files and what a node remembers.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::error::{Error, failed};
use super::faults::Faults;
use super::node_lock::NodeLock;
use crate::durable::{self, Durability, Folder, Replace, TemporaryFile};
use crate::roster::NodeId;

/// Its name in the images folder.
pub(super) const FOLDER: &str = ".pixseal";

pub(crate) struct WorkFolder {
    images: Arc<Folder>,
    /// Made anew if somebody removes it.
    opened: ArcSwap<LockedFolder>,
    /// One at a time makes it anew.
    making: Mutex<()>,
    pub(super) node: NodeId,
    pub(super) durability: Durability,
    /// What writes have failed with.
    pub(super) faults: Arc<Faults>,
    files: AtomicU64,
}

/// The folder, and the right to work in it as this node.
struct LockedFolder {
    folder: Arc<Folder>,
    _lock: NodeLock,
}

impl LockedFolder {
    fn open(images: &Folder, node: NodeId) -> Result<LockedFolder, Error> {
        let folder = images.open_or_create(FOLDER)?;
        let lock = NodeLock::take(&folder, node)?;
        Ok(LockedFolder { folder, _lock: lock })
    }
}

impl WorkFolder {
    /// Opens (and, if need be, creates) the folder, and removes what this node left unfinished. Fails before anything is
    /// removed if another process works there as this node.
    pub(super) fn open(
        images: Arc<Folder>,
        node: NodeId,
        durability: Durability,
    ) -> Result<WorkFolder, Error> {
        let opened = LockedFolder::open(&images, node)?;
        let next_file = sweep(&opened.folder, node)?;
        Ok(WorkFolder {
            images,
            opened: ArcSwap::from_pointee(opened),
            making: Mutex::new(()),
            node,
            durability,
            faults: Arc::default(),
            files: AtomicU64::new(next_file),
        })
    }

    pub(super) fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.opened.load().folder)
    }

    /// A folder in this one, if it is there.
    pub(super) fn open_folder(&self, name: &str) -> Result<Option<Arc<Folder>>, Error> {
        Ok(self.folder().open_folder(name)?)
    }

    /// An error if the path of the images does not lead to their folder any more.
    pub(super) fn check_in_place(&self) -> Result<(), Error> {
        self.images
            .check_in_place()
            .map_err(|_| Error::lost(self.images.path()))
    }

    /// A folder in this one; it is created if it is missing.
    pub(super) fn open_or_create(&self, name: &str) -> Result<Arc<Folder>, Error> {
        let folder = match self.folder().open_or_create(name) {
            Err(durable::Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                self.make_anew()?.open_or_create(name)
            }
            opened => opened,
        }?;
        Ok(folder)
    }

    pub(super) fn create_temporary(&self) -> Result<TemporaryFile, Error> {
        self.check_in_place()?;
        let serial = self.files.fetch_add(1, Ordering::Relaxed);
        let name = || format!("{}-{serial}.part", self.node);
        let created = match self.folder().create_temporary(name(), 0o600) {
            Err(durable::Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                self.make_anew()?.create_temporary(name(), 0o600)
            }
            created => created,
        };
        self.faults.note(created.map_err(Error::from))
    }

    /// The text of a file; none if there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let folder = self.folder();
        let Some(file) = folder.open_file(name)? else {
            return Ok(None);
        };
        let text = io::read_to_string(file).map_err(|e| failed("read", &folder.path().join(name), &e))?;
        Ok(Some(text))
    }

    /// Writes a file; with [`Replace::Refused`], only if there is none yet, which is no error.
    pub(super) fn write(
        &self,
        name: &str,
        text: &str,
        replace: Replace,
        durability: Durability,
    ) -> Result<(), Error> {
        let temporary = self.create_temporary()?;
        let written = temporary.file().write_all(text.as_bytes());
        let path = temporary.path();
        let committed = match written {
            Ok(()) => temporary
                .commit(&self.folder(), name, replace, durability)
                .map_err(Error::from),
            Err(e) => Err(failed("write", &path, &e)),
        };
        match committed {
            Ok(_) | Err(Error::Taken) => Ok(()),
            Err(e) => self.faults.note(Err(e)),
        }
    }

    /// Only in the images folder that is in place, and only if nobody else works there as this node.
    fn make_anew(&self) -> Result<Arc<Folder>, Error> {
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_in_place()?;
        let folder = self.folder();
        if folder.check_in_place().is_ok() {
            // Another thread was faster.
            return Ok(folder);
        }
        let opened = LockedFolder::open(&self.images, self.node)?;
        let folder = Arc::clone(&opened.folder);
        self.opened.store(Arc::new(opened));
        Ok(folder)
    }
}

/// Removes what `node` left unfinished. What cannot be removed, on a disk that cannot be written, stays until its next
/// start: returns a number above that of all its files.
fn sweep(folder: &Folder, node: NodeId) -> Result<u64, Error> {
    let (mine, mut next) = (format!("{node}-"), 0);
    folder.for_each_name(|name| {
        let rest = name
            .strip_prefix(&mine)
            .and_then(|rest| rest.strip_suffix(".part"));
        if let Some(rest) = rest
            && folder.remove(name).is_err()
            && let Ok(number) = rest.parse::<u64>()
        {
            next = next.max(number.saturating_add(1));
        }
        Ok(())
    })?;
    Ok(next)
}
