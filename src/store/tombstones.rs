//! The traces of deletes: a small file each, in a folder beside the images.
//!
//! ```text
//! .pixseal/tombstones/encrypted_<stem>.<user>.png    the version of the delete, as text, and a newline
//! ```

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::error::{Error, failed};
use super::work::WorkFolder;
use crate::durable::{Durability, Folder, Replace, TemporaryFile};
use crate::image_id::ImageId;
use crate::version::Version;

const FOLDER: &str = "tombstones";

pub(crate) struct Tombstones {
    opened: ArcSwapOption<TombstoneFolder>,
    /// This process has written none, and there was none when it started.
    are_none: AtomicBool,
}

struct TombstoneFolder {
    folder: Arc<Folder>,
    /// The work folder that it is in, which may have been made anew since.
    within: Arc<Folder>,
    /// Its own name is durable, so tombstones in it can be.
    is_durable: bool,
}

impl Tombstones {
    pub(super) fn open(work: &WorkFolder) -> Result<Tombstones, Error> {
        let tombstones = Tombstones {
            opened: ArcSwapOption::empty(),
            are_none: AtomicBool::new(false),
        };
        // Rather now than in the middle of a delete. On a disk that cannot be written, it is made when that is over.
        match work.faults.note(tombstones.folder_to_write(work)) {
            Err(error) if !error.is_of_disk() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let mut count = 0;
        tombstones.for_each(work, |_| count += 1)?;
        tombstones.are_none.store(count == 0, Ordering::Release);
        Ok(tombstones)
    }

    /// Whether there are none, unless another process has written some.
    pub(super) fn are_none(&self) -> bool {
        self.are_none.load(Ordering::Acquire)
    }

    pub(super) fn find(&self, work: &WorkFolder, id: &ImageId) -> Result<Option<Version>, Error> {
        let name = id.file_name();
        let Some(folder) = self.folder(work)? else {
            return Ok(None);
        };
        let Some(file) = folder.open_file(&name)? else {
            return Ok(None);
        };
        let path = || folder.path().join(&name);
        let text = io::read_to_string(file).map_err(|e| failed("read", &path(), &e))?;
        let version = text.trim().parse();
        let broken = |e| Error::Io(format!("{}: {e}: remove it", path().display()));
        version.map(Some).map_err(broken)
    }

    /// Gives a tombstone its name, which is not durable before [`Tombstones::sync`].
    pub(super) fn place(
        &self,
        work: &WorkFolder,
        mut tombstone: TemporaryFile,
        id: &ImageId,
    ) -> Result<(), Error> {
        self.are_none.store(false, Ordering::Release);
        let folder = work.faults.note(self.folder_to_write(work))?;
        let renamed = tombstone.rename(&folder, id.file_name().as_ref(), Replace::Allowed);
        work.faults.note(renamed.map(drop).map_err(Error::from))
    }

    /// Makes durable which tombstones there are.
    pub(super) fn sync(&self, work: &WorkFolder) -> Result<(), Error> {
        match work.durability {
            Durability::Fsync => {
                let synced = self.folder_to_write(work)?.sync();
                work.faults
                    .note(synced.map_err(|e| Error::Unsynced(e.to_string())))
            }
            Durability::Rename => Ok(()),
        }
    }

    pub(super) fn remove(&self, work: &WorkFolder, id: &ImageId) -> Result<bool, Error> {
        match self.folder(work)? {
            Some(folder) => Ok(folder.remove(&id.file_name())?),
            None => Ok(false),
        }
    }

    /// Calls `see` with each name that has a tombstone, in no order.
    pub(super) fn for_each(&self, work: &WorkFolder, mut see: impl FnMut(ImageId)) -> Result<(), Error> {
        let Some(folder) = self.folder(work)? else {
            return Ok(());
        };
        folder.for_each_name(|name| {
            if let Some(id) = ImageId::from_file_name(name) {
                see(id);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Where they are; `None` if there has never been one. Nothing is created: the disk may be one that can only be read.
    fn folder(&self, work: &WorkFolder) -> Result<Option<Arc<Folder>>, Error> {
        if let Some(opened) = self.opened(work) {
            return Ok(Some(Arc::clone(&opened.folder)));
        }
        let within = work.folder();
        let folder = work.open_folder(FOLDER)?;
        if let Some(folder) = &folder {
            self.opened.store(Some(Arc::new(TombstoneFolder {
                folder: Arc::clone(folder),
                within,
                is_durable: false,
            })));
        }
        Ok(folder)
    }

    /// The same, made if it is missing, and durable.
    fn folder_to_write(&self, work: &WorkFolder) -> Result<Arc<Folder>, Error> {
        if let Some(opened) = self.opened(work).filter(|opened| opened.is_durable) {
            return Ok(Arc::clone(&opened.folder));
        }
        let folder = work.open_or_create(FOLDER)?;
        let within = work.folder();
        within.sync()?;
        self.opened.store(Some(Arc::new(TombstoneFolder {
            folder: Arc::clone(&folder),
            within,
            is_durable: true,
        })));
        Ok(folder)
    }

    fn opened(&self, work: &WorkFolder) -> Option<Arc<TombstoneFolder>> {
        let opened = self.opened.load_full()?;
        Arc::ptr_eq(&opened.within, &work.folder()).then_some(opened)
    }
}

/// A tombstone without a name, durable if that is wanted.
pub(super) fn prepare(work: &WorkFolder, version: Version) -> Result<TemporaryFile, Error> {
    let temporary = work.create_temporary()?;
    let written = temporary.file().write_all(format!("{version}\n").as_bytes());
    let written = written.map_err(|e| failed("write", &temporary.path(), &e));
    let synced = written.and_then(|()| match work.durability {
        Durability::Fsync => Ok(temporary.sync()?),
        Durability::Rename => Ok(()),
    });
    work.faults.note(synced)?;
    Ok(temporary)
}
