//! The folder beside the images, for what is not an image: temporary files and what a node remembers.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::error::{Error, failed};
use crate::durable::{self, Durability, Folder, Replace, TemporaryFile};
use crate::roster::NodeId;

const FOLDER: &str = ".pixseal";

pub(crate) struct WorkFolder {
    images: Arc<Folder>,
    /// Made anew if somebody removes it.
    folder: ArcSwap<Folder>,
    pub(super) node: NodeId,
    pub(super) durability: Durability,
    files: AtomicU64,
}

impl WorkFolder {
    /// Opens (and, if need be, creates) the folder, and removes what this node left unfinished.
    pub(super) fn open(
        images: Arc<Folder>,
        node: NodeId,
        durability: Durability,
    ) -> Result<WorkFolder, Error> {
        let folder = images.open_or_create(FOLDER)?;
        let mine = format!("{node}-");
        folder.for_each_name(|name| {
            if name.starts_with(&mine) && name.ends_with(".part") {
                folder.remove(name)?;
            }
            Ok(())
        })?;
        Ok(WorkFolder {
            images,
            folder: ArcSwap::from(folder),
            node,
            durability,
            files: AtomicU64::new(0),
        })
    }

    pub(super) fn folder(&self) -> Arc<Folder> {
        self.folder.load_full()
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
        self.images.check_in_place()?;
        let serial = self.files.fetch_add(1, Ordering::Relaxed);
        let name = || format!("{}-{serial}.part", self.node);
        match self.folder().create_temporary(name(), 0o600) {
            Err(durable::Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.make_anew()?.create_temporary(name(), 0o600)?)
            }
            created => Ok(created?),
        }
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
        written.map_err(|e| failed("write", &temporary.path(), &e))?;
        match temporary.commit(&self.folder(), name, replace, durability) {
            Ok(_) | Err(durable::Error::Taken) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn make_anew(&self) -> Result<Arc<Folder>, Error> {
        let folder = self.images.open_or_create(FOLDER)?;
        self.folder.store(Arc::clone(&folder));
        Ok(folder)
    }
}
