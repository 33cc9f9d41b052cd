//! Files that appear as a whole or not at all: temporary file → all bytes → sync → rename → sync of the folder.
//!
//! Leaving any of the two syncs out was seen to lose acknowledged images at power loss on ext4 and xfs. A folder is
//! opened once and held: every name is looked up in the held folder, so it cannot be exchanged between two steps, and a
//! disk that was unmounted is an error and never a new, empty folder.
//!
//! Knows nothing of what the files hold.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room is the edge to the file system"
)]

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// What a committed file outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power loss.
    Fsync,
    /// A crash of the process, but not one of the machine.
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

/// Whether a committed file took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The name is new.
    Created,
    /// An older file of that name is gone.
    Replaced,
}

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The newer file wins.
    Allowed,
    /// Fail with [`Error::Taken`].
    Refused,
}

/// Why a file or a folder could not be used.
#[derive(Debug)]
pub enum Error {
    /// The name is taken and was not to be replaced. Nothing has changed.
    Taken,
    /// An operation failed; a file that was to be committed does not have its name.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file has its name, but the sync of the folder failed: it may not outlive a power loss.
    Unsynced {
        /// What the rename did.
        outcome: Outcome,
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Taken => f.write_str("the name is taken"),
            Error::Io {
                operation,
                path,
                error,
            } => write!(f, "cannot {operation} {}: {error}", path.display()),
            Error::Unsynced { path, error, .. } => write!(f, "cannot sync {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// An open folder.
pub struct Folder {
    file: File,
    path: PathBuf,
    /// Device and inode, which it keeps as long as it is held.
    identity: (u64, u64),
}

impl Folder {
    /// Opens a folder that exists.
    pub fn open(path: &Path) -> Result<Arc<Folder>, Error> {
        let fd = rustix::fs::open(path, FOLDER_FLAGS, Mode::empty());
        let fd = fd.map_err(|e| io_error("open", path.to_owned(), e))?;
        Folder::hold(fd, path.to_owned())
    }

    fn hold(fd: OwnedFd, path: PathBuf) -> Result<Arc<Folder>, Error> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| io_error("look at", path.clone(), e))?;
        Ok(Arc::new(Folder {
            file: fd.into(),
            path,
            identity: identity(&stat),
        }))
    }

    /// The folder `name` in this one; it is created if it is missing. The folder that this one is in is never created:
    /// it may be a mount point, and what is written into the empty folder under it would be lost to sight.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<Arc<Folder>, Error> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.file, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(io_error("create", path, e)),
        }
        let opened = self.open_folder(name)?;
        opened.ok_or_else(|| io_error("open", path, Errno::NOENT))
    }

    /// The folder `name` in this one; `None` if there is none.
    pub(crate) fn open_folder(&self, name: &str) -> Result<Option<Arc<Folder>>, Error> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.file, name, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => Folder::hold(fd, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(io_error("open", path, e)),
        }
    }

    /// Where the folder was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor that is held.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// An error if the path does not lead to this folder any more: it was moved, removed or unmounted.
    pub(crate) fn check_in_place(&self) -> Result<(), Error> {
        match rustix::fs::stat(&self.path) {
            Ok(found) if identity(&found) == self.identity => Ok(()),
            Ok(_) => Err(io_error("use", self.path.clone(), Errno::STALE)),
            Err(e) => Err(io_error("use", self.path.clone(), e)),
        }
    }

    /// Opens the file `name`; `None` if there is none, or if it is a symbolic link.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<File>, Error> {
        // Without NONBLOCK, a pipe in place of the file would hold the caller for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::NOENT | Errno::LOOP) => Ok(None),
            Err(e) => Err(io_error("open", self.path.join(name), e)),
        }
    }

    /// Opens the file `name` to be locked; it is created if it is missing. On a disk that can only be read, one that is
    /// there is opened for reading: it can be locked all the same.
    pub(crate) fn open_lock_file(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |more| rustix::fs::openat(&self.file, name, flags | more, Mode::from_raw_mode(0o600));
        let fd = match open(OFlags::RDWR | OFlags::CREATE) {
            Err(e @ (Errno::ROFS | Errno::ACCESS | Errno::PERM)) => open(OFlags::RDONLY).map_err(|_| e),
            opened => opened,
        };
        Ok(fd.map_err(|e| io_error("open", self.path.join(name), e))?.into())
    }

    /// Creates an empty temporary file with these permissions. Its name must be new.
    pub fn create_temporary(self: &Arc<Self>, name: String, mode: u32) -> Result<TemporaryFile, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.file, &name, flags, Mode::from_raw_mode(mode)) {
            Ok(fd) => Ok(TemporaryFile {
                file: Arc::new(fd.into()),
                folder: Arc::clone(self),
                name,
                renamed: false,
            }),
            Err(e) => Err(io_error("create", self.path.join(name), e)),
        }
    }

    /// Removes the file `name` and returns whether it was there. The removal is not durable before [`Folder::sync`].
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::unlinkat(&self.file, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(io_error("remove", self.path.join(name), e)),
        }
    }

    /// Makes durable which names are in the folder.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let outcome = self.file.sync_all();
        outcome.map_err(|e| io_error("sync", self.path.clone(), e))
    }

    /// Calls `see` with each name that is UTF-8, in no order.
    pub(crate) fn for_each_name(&self, mut see: impl FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
        let unreadable = |e| io_error("read", self.path.clone(), e);
        for entry in rustix::fs::Dir::read_from(&self.file).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if let Ok(name) = entry.file_name().to_str() {
                see(name)?;
            }
        }
        Ok(())
    }

    /// Size and time of the regular file `name`; `None` if there is none.
    pub(crate) fn look_at(&self, name: &str) -> Result<Option<(u64, SystemTime)>, Error> {
        let stat = match rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(io_error("look at", self.path.join(name), e)),
        };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        let nanos = Duration::from_nanos(stat.st_mtime_nsec);
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(is_file.then(|| (bytes, SystemTime::UNIX_EPOCH + seconds + nanos)))
    }

    fn holds(&self, name: &OsStr) -> bool {
        rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file on its way to its name. It vanishes when dropped, unless it is committed.
pub struct TemporaryFile {
    file: Arc<File>,
    folder: Arc<Folder>,
    name: String,
    renamed: bool,
}

impl TemporaryFile {
    /// The file, to be written and read.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file, for another thread.
    pub(crate) fn share(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where it lies until it is committed.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// Makes the bytes durable and gives them their name in `folder`, durably.
    pub fn commit(
        mut self,
        folder: &Folder,
        name: impl AsRef<OsStr>,
        replace: Replace,
        durability: Durability,
    ) -> Result<Outcome, Error> {
        if durability == Durability::Fsync {
            self.sync()?;
        }
        let outcome = self.rename(folder, name.as_ref(), replace)?;
        match durability {
            Durability::Fsync => folder.file.sync_all().map_err(|error| Error::Unsynced {
                outcome,
                path: folder.path.clone(),
                error,
            })?,
            Durability::Rename => {}
        }
        Ok(outcome)
    }

    /// Makes the bytes durable. Not to be tried again on failure: the kernel has dropped the dirty pages by then, and a
    /// second call would succeed without them.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        synced.map_err(|e| io_error("sync", self.path(), e))
    }

    /// Gives the file its name, which is not durable before [`Folder::sync`].
    pub(crate) fn rename(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        replace: Replace,
    ) -> Result<Outcome, Error> {
        let (from, to) = (&self.folder.file, &folder.file);
        let failed = |e| io_error("rename to", folder.path.join(name), e);
        let outcome = match rustix::fs::renameat_with(from, &self.name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => Outcome::Created,
            Err(Errno::EXIST) if replace == Replace::Refused => return Err(Error::Taken),
            Err(Errno::EXIST) => {
                rustix::fs::renameat(from, &self.name, to, name).map_err(failed)?;
                Outcome::Replaced
            }
            // A file system that knows no flags.
            Err(Errno::INVAL | Errno::NOSYS) => return self.rename_without_flags(folder, name, replace),
            Err(e) => return Err(failed(e)),
        };
        self.renamed = true;
        Ok(outcome)
    }

    fn rename_without_flags(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        replace: Replace,
    ) -> Result<Outcome, Error> {
        let (from, to) = (&self.folder.file, &folder.file);
        let failed = |e| io_error("rename to", folder.path.join(name), e);
        if replace == Replace::Refused {
            // A link never replaces. The temporary name goes when this is dropped.
            return match rustix::fs::linkat(from, &self.name, to, name, AtFlags::empty()) {
                Ok(()) => Ok(Outcome::Created),
                Err(Errno::EXIST) => Err(Error::Taken),
                Err(e) => Err(failed(e)),
            };
        }
        let outcome = if folder.holds(name) {
            Outcome::Replaced
        } else {
            Outcome::Created
        };
        rustix::fs::renameat(from, &self.name, to, name).map_err(failed)?;
        self.renamed = true;
        Ok(outcome)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed now is removed when the folder is swept.
            let _ = self.folder.remove(&self.name);
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn io_error(operation: &'static str, path: PathBuf, error: impl Into<io::Error>) -> Error {
    Error::Io {
        operation,
        path,
        error: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn folder() -> (tempfile::TempDir, Arc<Folder>) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        (root, folder)
    }

    fn written(folder: &Arc<Folder>, text: &str) -> TemporaryFile {
        let temporary = folder.create_temporary(".new".to_owned(), 0o600).unwrap();
        temporary.file().write_all(text.as_bytes()).unwrap();
        temporary
    }

    /// As on a file system that knows the flags of rename, and as on one that does not.
    #[test]
    fn a_name_is_created_replaced_or_kept() {
        let (root, folder) = folder();
        let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        for (name, flags) in [("a", true), ("b", false)] {
            let commit = |text: &str, replace| {
                let mut temporary = written(&folder, text);
                if flags {
                    temporary.commit(&folder, name, replace, Durability::Fsync)
                } else {
                    temporary.rename_without_flags(&folder, name.as_ref(), replace)
                }
            };
            assert_eq!(commit("one", Replace::Refused).unwrap(), Outcome::Created);
            assert!(matches!(commit("two", Replace::Refused), Err(Error::Taken)));
            assert_eq!(read(name), "one");
            assert_eq!(commit("two", Replace::Allowed).unwrap(), Outcome::Replaced);
            assert_eq!(read(name), "two");
        }
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            2,
            "nothing temporary is left"
        );
    }

    #[test]
    fn a_folder_that_was_moved_is_not_in_place() {
        let (root, outer) = folder();
        let inner = outer.open_or_create("inner").unwrap();
        assert!(inner.check_in_place().is_ok());
        fs::rename(inner.path(), root.path().join("moved")).unwrap();
        assert!(inner.check_in_place().is_err());
        outer.open_or_create("inner").unwrap();
        assert!(inner.check_in_place().is_err(), "another folder of that name");
    }
}
