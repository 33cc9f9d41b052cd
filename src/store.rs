//! Where sealed images rest: one folder, one file an image, durable before anybody is told.
//!
//! ```text
//! images/encrypted_<stem>.<user>.png    sealed images; a name appears only when its bytes are complete
//! images/.pixseal/<node>-<n>.part       uploads on their way, 0600; each node sweeps its own at start
//! images/.pixseal/<node>.incarnation    how often the node has started
//! ```
//!
//! An upload goes temporary file → all bytes → fdatasync → rename → fsync of the folder → receipt. Leaving any
//! of the two syncs out was seen to lose acknowledged images at power loss on ext4 and xfs. Several nodes may
//! share the folder: every name they create while working carries their id.
//!
//! - [`draft`]: an image on its way in
//! - [`sealed`]: one that is read
//! - [`direct`]: past the page cache
//!
//! Knows nothing of keys, of what a sealed file holds, or of HTTP. No image name can reach the `.pixseal`
//! folder, because none begins with a dot; no symbolic link is followed to an image.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room is the edge to the file system"
)]

pub mod direct;
pub mod draft;
mod recent;
pub mod sealed;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::OFlags;
use rustix::io::Errno;

use self::draft::Draft;
use self::recent::Recent;
use self::sealed::Sealed;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// The folder beside the images for what is not an image.
const WORK_FOLDER: &str = ".pixseal";

/// What a receipt promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The image outlives a power loss.
    Fsync,
    /// The image outlives a crash of the node, but not one of the machine.
    Rename,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Fsync => "fsync",
            Durability::Rename => "rename",
        })
    }
}

/// What went wrong. In every case the final name is as it was before, unless the text says otherwise.
#[derive(Debug)]
pub enum Error {
    /// No space or no quota is left.
    Full(String),
    /// No file descriptor is left; a moment later there may be one.
    Exhausted(String),
    /// The name was taken, and the caller asked not to replace.
    Taken,
    /// Anything else, with the operation and the path.
    Io(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full(text) | Error::Exhausted(text) | Error::Io(text) => text.fmt(f),
            Error::Taken => "an image of this name exists".fmt(f),
        }
    }
}

impl std::error::Error for Error {}

fn failed<'p>(operation: &'p str, path: &'p Path) -> impl FnOnce(io::Error) -> Error + 'p {
    move |e| {
        let text = format!("cannot {operation} {}: {e}", path.display());
        if matches!(Errno::from_io_error(&e), Some(Errno::MFILE | Errno::NFILE)) {
            return Error::Exhausted(text);
        }
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::Full(text)
            }
            _ => Error::Io(text),
        }
    }
}

/// The images folder, as one node uses it.
pub struct Store {
    images: PathBuf,
    work: PathBuf,
    node: NodeId,
    durability: Durability,
    drafts: AtomicU64,
    recent: Recent,
}

/// One image in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// User and name.
    pub id: ImageId,
    /// Size of the file, in bytes.
    pub sealed_bytes: u64,
    /// When the image got its name.
    pub modified: SystemTime,
}

impl Store {
    /// Opens (and, if need be, creates) the folder, and removes what this node left unfinished.
    pub fn open(images: &Path, node: NodeId, durability: Durability) -> Result<Store, Error> {
        let work = images.join(WORK_FOLDER);
        fs::create_dir_all(&work).map_err(failed("create", &work))?;
        let store = Store {
            images: images.to_owned(),
            work,
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
        let mine = format!("{}-", self.node);
        for entry in fs::read_dir(&self.work).map_err(failed("read", &self.work))? {
            let path = entry.map_err(failed("read", &self.work))?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with(&mine) && name.ends_with(".part") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// What receipts of this store promise.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether a file can be created now; the error says why not.
    pub fn probe(&self) -> Result<(), Error> {
        self.begin().map(drop)
    }

    /// The number of this start of the node: higher than at any start before, also when the clock went back
    /// (then the file remembers) and when the file was lost (then `now` is higher).
    pub fn next_incarnation(&self, now: SystemTime) -> Result<u64, Error> {
        let path = self.work.join(format!("{}.incarnation", self.node));
        let last: u64 = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| Error::Io(format!("{} does not hold a number: remove it", path.display())))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(failed("read", &path)(e)),
        };
        let clock = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let next = (last + 1).max(u64::try_from(clock).unwrap_or(0));
        let draft = self.begin()?;
        (&draft.file)
            .write_all(format!("{next}\n").as_bytes())
            .map_err(failed("write", &draft.path))?;
        draft.file.sync_data().map_err(failed("sync", &draft.path))?;
        fs::rename(&draft.path, &path).map_err(failed("rename", &draft.path))?;
        self.sync_folder(&self.work)?;
        Ok(next)
    }

    /// A new, empty draft. It vanishes when dropped, unless it is committed.
    pub fn begin(&self) -> Result<Draft<'_>, Error> {
        let serial = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = self.work.join(format!("{}-{serial}.part", self.node));
        let create = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
        };
        let file = match create() {
            // Somebody tidied up while we run. The images folder itself is not made anew: it may be a mount
            // point, and what is written into the empty folder under it would be lost to sight.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&self.work).map_err(failed("create", &self.work))?;
                create()
            }
            other => other,
        };
        let file = file.map_err(failed("create", &path))?;
        Ok(Draft::new(self, file, path))
    }

    /// The image `id`, if this folder holds it.
    pub fn find(&self, id: &ImageId) -> Result<Option<Sealed<'_>>, Error> {
        let path = self.images.join(id.file_name());
        // Without O_NONBLOCK, a FIFO under an image's name would hold the worker for ever.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)
        {
            Ok(file) => Sealed::new(self, file, path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::LOOP) => Ok(None),
            Err(e) => Err(failed("open", &path)(e)),
        }
    }

    /// Removes the image `id` and returns whether it was there. On return the removal is durable.
    pub fn delete(&self, id: &ImageId) -> Result<bool, Error> {
        let path = self.images.join(id.file_name());
        match fs::remove_file(&path) {
            Ok(()) => self.sync_folder(&self.images).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(failed("remove", &path)(e)),
        }
    }

    /// At most `limit` images of `user` in the order of their names, beginning after the name `after`.
    pub fn list(&self, user: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let mut found: BTreeMap<String, (ImageId, PathBuf)> = BTreeMap::new();
        for entry in fs::read_dir(&self.images).map_err(failed("read", &self.images))? {
            let entry = entry.map_err(failed("read", &self.images))?;
            let Some(id) = entry.file_name().to_str().and_then(ImageId::from_file_name) else {
                continue;
            };
            if id.user() == user && id.name() > after {
                found.insert(id.name().to_owned(), (id, entry.path()));
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
        let mut entries = Vec::with_capacity(found.len());
        for (id, path) in found.into_values() {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    let modified = metadata.modified().map_err(failed("look at", &path))?;
                    entries.push(Entry {
                        id,
                        sealed_bytes: metadata.len(),
                        modified,
                    });
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed("look at", &path)(e)),
            }
        }
        Ok(entries)
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), Error> {
        if self.durability == Durability::Rename {
            return Ok(());
        }
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("sync", folder))
    }
}

#[cfg(test)]
mod tests;
