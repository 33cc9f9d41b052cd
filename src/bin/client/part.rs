//! The beginning of an image beside the file that it is to be: `NAME.TAG.part`, where TAG is the image's entity tag.
//!
//! A part belongs to one download at a time: two that wrote into the same one would make a file that is no image. It is
//! locked while it is open; the kernel gives the lock back when its holder ends, however that happens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pixseal::client::download::HeldPart;
use pixseal::durable::Replace;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

const SUFFIX: &str = ".part";
/// Hexadecimal digits of an entity tag, without its quotes.
const TAG_DIGITS: usize = 32;

pub(super) struct Part {
    path: PathBuf,
    etag: String,
    bytes: u64,
    /// Locked until dropped.
    file: File,
}

impl Part {
    /// What an earlier download of this name left. An error if a download that goes on has it.
    pub(super) fn find(folder: &Path, name: &str) -> io::Result<Option<Part>> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let file = entry.file_name();
            let Some(tag) = file.to_str().and_then(|file| tag_of(file, name)) else {
                continue;
            };
            let part = Part::take(entry.path(), format!("\"{tag}\""), OpenOptions::new().write(true))?;
            return Ok(Some(part));
        }
        Ok(None)
    }

    /// A part for the image of this entity tag. One that its server gave no such tag is never found again.
    pub(super) fn create(folder: &Path, name: &str, etag: &str) -> io::Result<Part> {
        let tag = Some(etag.trim_matches('"')).filter(|tag| is_tag(tag));
        let path = folder.join([name, ".", tag.unwrap_or_default(), SUFFIX].concat());
        let mut options = OpenOptions::new();
        Part::take(path, etag.to_owned(), options.write(true).create(true))
    }

    fn take(path: PathBuf, etag: String, options: &OpenOptions) -> io::Result<Part> {
        let gone_is_busy = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => busy(),
            _ => e,
        };
        let file = options.open(&path).map_err(gone_is_busy)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(busy()),
            // Some file systems have no locks. Two downloads of one write put the same bytes in the same places there.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Whoever had it before may have given it the name of the image meanwhile.
        let (ours, named) = (
            file.metadata()?,
            fs::symlink_metadata(&path).map_err(gone_is_busy)?,
        );
        if (ours.dev(), ours.ino()) != (named.dev(), named.ino()) {
            return Err(busy());
        }
        let bytes = ours.len();
        Ok(Part {
            path,
            etag,
            bytes,
            file,
        })
    }

    pub(super) fn held(&self) -> HeldPart<'_> {
        HeldPart {
            etag: &self.etag,
            bytes: self.bytes,
        }
    }

    /// What is written goes behind the first `bytes`; what came after them is gone.
    pub(super) fn begin_at(&mut self, bytes: u64) -> io::Result<&mut File> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        Ok(&mut self.file)
    }

    /// It belongs to an image that is no more.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Gives it the name of the image, and returns how long it is. What came to have that name meanwhile is not replaced,
    /// unless that is wanted: `AlreadyExists`.
    pub(super) fn finish(self, path: &Path, replace: Replace) -> io::Result<u64> {
        match replace {
            Replace::Allowed => fs::rename(&self.path, path)?,
            Replace::Refused => match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                // A file system that knows no flags, as NFS. A link never replaces.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    fs::hard_link(&self.path, path)?;
                    fs::remove_file(&self.path)?;
                }
                renamed => renamed?,
            },
        }
        Ok(self.file.metadata()?.len())
    }
}

/// The entity tag in the name of a part of this image.
fn tag_of<'f>(file: &'f str, name: &str) -> Option<&'f str> {
    let tag = file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    is_tag(tag).then_some(tag)
}

/// What is none could lead out of the folder.
fn is_tag(tag: &str) -> bool {
    tag.len() == TAG_DIGITS && tag.bytes().all(|b| b.is_ascii_hexdigit())
}

fn busy() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another download of it into this folder goes on: let that one end",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;

    const ETAG: &str = "\"0123456789abcdef0123456789abcdef\"";

    #[test]
    fn a_part_is_of_one_download_at_a_time_and_is_found_by_the_next() {
        let folder = TempDir::new().unwrap();
        let mut first = Part::create(folder.path(), "a.png", ETAG).unwrap();
        first.begin_at(0).unwrap().write_all(b"begin").unwrap();
        for again in [
            Part::find(folder.path(), "a.png").map(|part| part.is_some()),
            Part::create(folder.path(), "a.png", ETAG).map(|_| true),
        ] {
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        }
        assert!(Part::find(folder.path(), "b.png").unwrap().is_none());
        drop(first);
        let next = Part::find(folder.path(), "a.png").unwrap().unwrap();
        assert_eq!((next.held().etag, next.held().bytes), (ETAG, 5));
    }

    #[test]
    fn a_part_takes_the_name_of_another_file_only_if_that_is_wanted() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.png");
        fs::write(&target, "mine").unwrap();
        let part = || {
            let mut part = Part::create(folder.path(), "a.png", ETAG).unwrap();
            part.begin_at(0).unwrap().write_all(b"theirs").unwrap();
            part
        };
        let refused = part().finish(&target, Replace::Refused).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        assert_eq!(part().finish(&target, Replace::Allowed).unwrap(), 6);
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_entity_tag_stays_out_of_the_name() {
        let folder = TempDir::new().unwrap();
        let part = Part::create(folder.path(), "a.png", "\"/../../b\"").unwrap();
        assert_eq!(part.path, folder.path().join("a.png..part"));
        drop(part);
        assert!(Part::find(folder.path(), "a.png").unwrap().is_none());
    }
}
