//! The sealed images on disk: one folder, one file for each image, durable before a receipt is sent.
//!
//! ```text
//! images/encrypted_<stem>.<user>.png    sealed images; a name appears only when its bytes are complete
//! images/.pixseal/<node>-<n>.part       uploads on their way, 0600; each node sweeps its own at start
//! images/.pixseal/<node>.incarnation    how often the node has started
//! ```
//!
//! An upload goes temporary file → all bytes → fdatasync → rename → fsync of the folder → receipt; see [`durable`].
//! Both folders are held open. Several nodes may share them: every name they create while working carries their id.
//!
//! - [`draft`]: an image on its way in
//! - [`sealed`]: one that is read
//! - [`direct`]: past the page cache; [`recent`]: which reads go past it
//! - [`error`]: what can go wrong
//!
//! Knows nothing of keys, of what a sealed file holds, or of HTTP. No image name can reach the `.pixseal`
//! folder, because none begins with a dot; no symbolic link is followed to an image.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room is the edge to the file system"
)]

pub(crate) mod direct;
pub(crate) mod draft;
pub mod error;
pub(crate) mod recent;
pub mod sealed;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use self::draft::Draft;
use self::error::{Error, failed};
use self::recent::Recent;
use self::sealed::Sealed;
use crate::durable::{self, Durability, Folder, Replace, TemporaryFile};
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// The folder beside the images for what is not an image.
const WORK_FOLDER: &str = ".pixseal";

/// The images folder, as one node uses it.
pub struct Store {
    images: Arc<Folder>,
    /// Made anew if it is removed.
    work: ArcSwap<Folder>,
    node: NodeId,
    durability: Durability,
    drafts: AtomicU64,
    recent: Recent,
}

/// One image in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredImage {
    pub(crate) id: ImageId,
    /// Size of the file, in bytes.
    pub(crate) sealed_bytes: u64,
    /// When the image got its name.
    pub(crate) modified: SystemTime,
}

impl Store {
    /// Opens (and, if need be, creates) the folder, and removes what this node left unfinished.
    pub fn open(images: &Path, node: NodeId, durability: Durability) -> Result<Store, Error> {
        fs::create_dir_all(images).map_err(|e| failed("create", images, &e))?;
        let images = Folder::open(images)?;
        let work = images.open_or_create(WORK_FOLDER)?;
        let store = Store {
            images,
            work: ArcSwap::from(work),
            node,
            durability,
            drafts: AtomicU64::new(0),
            recent: Recent::new(),
        };
        store.sweep()?;
        store.probe()?;
        Ok(store)
    }

    fn sweep(&self) -> Result<(), Error> {
        let (work, mine) = (self.work.load(), format!("{}-", self.node));
        work.for_each_name(|name| {
            if name.starts_with(&mine) && name.ends_with(".part") {
                work.remove(name)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// What receipts of this store promise.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether a file can be created now; the error says why not.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.create_temporary().map(drop)
    }

    /// The number of this start of the node: higher than at any start before, also when the clock went back
    /// (then the file remembers) and when the file was lost (then `now` is higher).
    pub(crate) fn next_incarnation(&self, now: SystemTime) -> Result<u64, Error> {
        let (work, name) = (self.work.load(), format!("{}.incarnation", self.node));
        let path = work.path().join(&name);
        let last: u64 = match work.open_file(&name)? {
            None => 0,
            Some(file) => {
                let text = io::read_to_string(file).map_err(|e| failed("read", &path, &e))?;
                text.trim()
                    .parse()
                    .map_err(|_| Error::Io(format!("{} does not hold a number: remove it", path.display())))?
            }
        };
        let clock = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let next = (last + 1).max(u64::try_from(clock).unwrap_or(0));
        let temporary = self.create_temporary()?;
        let written = temporary.file().write_all(format!("{next}\n").as_bytes());
        written.map_err(|e| failed("write", &temporary.path(), &e))?;
        temporary.commit(&work, &name, Replace::Allowed, self.durability)?;
        Ok(next)
    }

    /// A new, empty draft.
    pub(crate) fn begin(&self) -> Result<Draft<'_>, Error> {
        Ok(Draft::new(
            self.create_temporary()?,
            &self.images,
            self.durability,
        ))
    }

    fn create_temporary(&self) -> Result<TemporaryFile, Error> {
        self.images.check_in_place()?;
        let serial = self.drafts.fetch_add(1, Ordering::Relaxed);
        let name = || format!("{}-{serial}.part", self.node);
        match self.work.load_full().create_temporary(name(), 0o600) {
            Err(durable::Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                let work = self.images.open_or_create(WORK_FOLDER)?;
                self.work.store(Arc::clone(&work));
                Ok(work.create_temporary(name(), 0o600)?)
            }
            created => Ok(created?),
        }
    }

    /// The image `id`, if this folder holds it.
    pub fn find(&self, id: &ImageId) -> Result<Option<Sealed<'_>>, Error> {
        let name = id.file_name();
        match self.images.open_file(&name)? {
            Some(file) => Sealed::new(&self.images, &self.recent, file, name),
            None => Ok(None),
        }
    }

    /// Removes the image `id` and returns whether it was there. On return the removal is durable.
    pub(crate) fn delete(&self, id: &ImageId) -> Result<bool, Error> {
        let removed = self.images.remove(&id.file_name())?;
        if removed && self.durability == Durability::Fsync {
            self.images.sync()?;
        }
        Ok(removed)
    }

    /// At most `limit` images of `user` in the order of their names, beginning after the name `after`.
    pub(crate) fn list(&self, user: &str, after: &str, limit: usize) -> Result<Vec<StoredImage>, Error> {
        let mut found: BTreeMap<String, ImageId> = BTreeMap::new();
        self.images.for_each_name(|file_name| {
            let id = ImageId::from_file_name(file_name);
            if let Some(id) = id.filter(|id| id.user() == user && id.name() > after) {
                found.insert(id.name().to_owned(), id);
                if found.len() > limit {
                    found.pop_last();
                }
            }
            Ok(())
        })?;
        let mut images = Vec::with_capacity(found.len());
        for id in found.into_values() {
            if let Some((sealed_bytes, modified)) = self.images.look_at(&id.file_name())? {
                images.push(StoredImage {
                    id,
                    sealed_bytes,
                    modified,
                });
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests;
