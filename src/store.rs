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
//! Knows nothing of keys, of what a sealed file holds, or of HTTP. No image name can reach the `.pixseal`
//! folder, because none begins with a dot; no symbolic link is followed to an image.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room is the edge to the file system"
)]

mod recent;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{CWD, OFlags, RenameFlags, fcntl_getfl, fcntl_setfl, renameat_with};
use rustix::io::Errno;

use self::recent::Recent;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// The folder beside the images for what is not an image.
const WORK_FOLDER: &str = ".pixseal";
/// O_DIRECT wants file offset, length and address in multiples of the logical block size; 4 KiB covers every
/// device in use.
pub const DIRECT_BYTES_ALIGNMENT: usize = 4096;
/// Writes, and files to be read, below this go through the page cache: setting O_DIRECT up costs more than it saves
/// there.
const DIRECT_BYTES_MIN: usize = 256 << 10;

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

/// Whether a committed image took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The name is new.
    Created,
    /// An older image of that name is gone.
    Replaced,
}

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The newer image wins.
    Allowed,
    /// Fail with [`Error::Taken`].
    Refused,
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
        Ok(Draft {
            store: self,
            file,
            path,
            direct: false,
            committed: false,
        })
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
            Ok(file) => {
                let metadata = file.metadata().map_err(failed("look at", &path))?;
                let modified = metadata.modified().map_err(failed("look at", &path))?;
                Ok(metadata.is_file().then(|| Sealed {
                    store: self,
                    file,
                    path,
                    bytes: metadata.len(),
                    modified,
                    inode: metadata.ino(),
                    direct: OnceLock::new(),
                }))
            }
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

/// An image on its way: bytes under a temporary name.
pub struct Draft<'s> {
    store: &'s Store,
    file: File,
    path: PathBuf,
    direct: bool,
    committed: bool,
}

impl Draft<'_> {
    /// Writes `bytes` at `offset`. Large writes from aligned memory bypass the page cache, which is faster
    /// than going through it and leaves it to others (1.0 against 0.7 GB/s where this was measured).
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let aligned = bytes.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT) == 0
            && offset.is_multiple_of(DIRECT_BYTES_ALIGNMENT as u64)
            && bytes.len() >= DIRECT_BYTES_MIN;
        let whole = if aligned {
            bytes.len() - bytes.len() % DIRECT_BYTES_ALIGNMENT
        } else {
            0
        };
        let (body, tail) = bytes.split_at(whole);
        self.write_as(true, offset, body)?;
        self.write_as(false, offset + whole as u64, tail)
    }

    fn write_as(&mut self, direct: bool, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if direct != self.direct {
            self.direct = set_direct(&self.file, direct);
        }
        self.file
            .write_all_at(bytes, offset)
            .map_err(failed("write", &self.path))
    }

    /// Makes the bytes durable and gives them their name. When this returns, a receipt may be sent.
    pub fn commit(mut self, id: &ImageId, replace: Replace) -> Result<Outcome, Error> {
        let store = self.store;
        if store.durability == Durability::Fsync {
            // Not tried again on failure: the kernel has dropped the dirty pages by then, and a second call
            // would succeed without them.
            self.file.sync_data().map_err(failed("sync", &self.path))?;
        }
        let target = store.images.join(id.file_name());
        let outcome = match renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Outcome::Created,
            Err(Errno::EXIST) if replace == Replace::Refused => return Err(Error::Taken),
            Err(Errno::EXIST) => {
                fs::rename(&self.path, &target).map_err(failed("rename to", &target))?;
                Outcome::Replaced
            }
            // A file system that knows no flags: the check and the rename are two steps there.
            Err(Errno::INVAL | Errno::NOSYS) => rename_in_two_steps(&self.path, &target, replace)?,
            Err(e) => return Err(failed("rename to", &target)(e.into())),
        };
        self.committed = true;
        store.sync_folder(&store.images).inspect_err(|_| {
            // Not acknowledged, so it must not stay; an image that was replaced cannot be brought back.
            if outcome == Outcome::Created {
                let _ = fs::remove_file(&target);
            }
        })?;
        Ok(outcome)
    }
}

/// Has the file read and written past the page cache, or through it, and returns whether it is past it now: a file
/// system without O_DIRECT refuses the flag.
fn set_direct(file: &File, direct: bool) -> bool {
    let set = |flags: OFlags| {
        let wanted = if direct {
            flags | OFlags::DIRECT
        } else {
            flags - OFlags::DIRECT
        };
        fcntl_setfl(file, wanted)
    };
    fcntl_getfl(file).and_then(set).is_ok() && direct
}

fn rename_in_two_steps(draft: &Path, target: &Path, replace: Replace) -> Result<Outcome, Error> {
    let exists = fs::symlink_metadata(target).is_ok();
    if exists && replace == Replace::Refused {
        return Err(Error::Taken);
    }
    fs::rename(draft, target).map_err(failed("rename to", target))?;
    Ok(if exists {
        Outcome::Replaced
    } else {
        Outcome::Created
    })
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A stored image, open for reading. It stays readable when the name is replaced or removed meanwhile.
pub struct Sealed<'s> {
    store: &'s Store,
    file: File,
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
    inode: u64,
    /// Whether blocks are read past the page cache; decided with the first of them.
    direct: OnceLock<bool>,
}

impl Sealed<'_> {
    /// Size of the sealed file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the image got its name.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// Fills `room` with the first bytes of the file; fewer in it are an error. Not to be used after
    /// [`read_block`](Sealed::read_block).
    pub fn read_start(&self, room: &mut [u8]) -> Result<(), Error> {
        self.file
            .read_exact_at(room, 0)
            .map_err(failed("read", &self.path))
    }

    /// Fills `block` with the bytes at `offset`, as far as there are any, and returns how many. Address, length and
    /// offset are multiples of [`DIRECT_BYTES_ALIGNMENT`].
    ///
    /// A large file that nobody has read lately is read past the page cache, as it was written: filling the cache
    /// took more of the processor than all the rest of a download (1.6 against 0.4 s/GB where this was measured).
    pub fn read_block(&self, offset: u64, block: &mut [u8]) -> Result<usize, Error> {
        let left = self.bytes.saturating_sub(offset);
        let bytes = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        let room = if self.is_direct() {
            bytes.next_multiple_of(DIRECT_BYTES_ALIGNMENT)
        } else {
            bytes
        };
        let mut done = 0;
        while done < bytes {
            match self.file.read_at(&mut block[done..room], offset + done as u64) {
                Ok(0) => return Err(failed("read", &self.path)(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("read", &self.path)(e)),
            }
        }
        Ok(bytes)
    }

    fn is_direct(&self) -> bool {
        *self.direct.get_or_init(|| {
            self.bytes >= DIRECT_BYTES_MIN as u64
                && !self.store.recent.note(self.inode, self.modified)
                && set_direct(&self.file, true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn store(durability: Durability) -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("images"), NodeId(2), durability).unwrap();
        (folder, store)
    }

    fn id(name: &str) -> ImageId {
        ImageId::new("alice", name).unwrap()
    }

    fn put(store: &Store, name: &str, bytes: &[u8]) -> Result<Outcome, Error> {
        let mut draft = store.begin()?;
        draft.write(0, bytes)?;
        draft.commit(&id(name), Replace::Allowed)
    }

    fn content(store: &Store, name: &str) -> Option<Vec<u8>> {
        let sealed = store.find(&id(name)).unwrap()?;
        let mut bytes = vec![0; usize::try_from(sealed.bytes()).unwrap()];
        sealed.read_start(&mut bytes).unwrap();
        Some(bytes)
    }

    fn unfinished(store: &Store) -> usize {
        let is_part = |e: &fs::DirEntry| e.path().extension() == Some(OsStr::new("part"));
        fs::read_dir(&store.work)
            .unwrap()
            .filter(|e| is_part(e.as_ref().unwrap()))
            .count()
    }

    #[test]
    fn a_committed_image_is_found_and_a_dropped_one_is_not() {
        for durability in [Durability::Fsync, Durability::Rename] {
            let (_folder, store) = store(durability);
            assert_eq!(put(&store, "a.png", b"one").unwrap(), Outcome::Created);
            assert_eq!(put(&store, "a.png", b"two!").unwrap(), Outcome::Replaced);
            assert_eq!(content(&store, "a.png").unwrap(), b"two!");
            let mut draft = store.begin().unwrap();
            draft.write(0, b"never").unwrap();
            assert_eq!(unfinished(&store), 1);
            drop(draft);
            assert_eq!(unfinished(&store), 0);
            assert_eq!(content(&store, "b.png"), None);
        }
    }

    #[test]
    fn aligned_blocks_and_any_tail_come_back() {
        let (_folder, store) = store(Durability::Fsync);
        let block = 1 << 20;
        let memory: Vec<u8> = (0..3 * block + 5000)
            .map(|i: usize| (i * 7 + i / 251).to_le_bytes()[0])
            .collect();
        let start = memory.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT);
        for tail in [0, 1, 511, 4096, 4097, block - 1] {
            let mut draft = store.begin().unwrap();
            let bytes = &memory[start..start + 2 * block + tail];
            for (i, piece) in bytes.chunks(block).enumerate() {
                draft.write((i * block) as u64, piece).unwrap();
            }
            draft.commit(&id("a.png"), Replace::Allowed).unwrap();
            assert!(content(&store, "a.png").unwrap() == bytes, "tail {tail}");
        }
    }

    #[test]
    fn blocks_are_read_past_the_page_cache_once_and_then_through_it() {
        let (_folder, store) = store(Durability::Fsync);
        let block_bytes = 1 << 20;
        let mut memory = vec![0; block_bytes + DIRECT_BYTES_ALIGNMENT];
        let start = memory.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT);
        let block = &mut memory[start..start + block_bytes];
        for bytes in [0, 1, 5000, DIRECT_BYTES_MIN, block_bytes, 2 * block_bytes + 1] {
            let image: Vec<u8> = (0..bytes)
                .map(|i: usize| (i * 7 + i / 251).to_le_bytes()[0])
                .collect();
            put(&store, "a.png", &image).unwrap();
            for time in 0..3 {
                let sealed = store.find(&id("a.png")).unwrap().unwrap();
                let mut back = Vec::new();
                while back.len() < bytes {
                    let count = sealed.read_block(back.len() as u64, block).unwrap();
                    back.extend_from_slice(&block[..count]);
                }
                assert!(back == image, "{bytes} bytes, time {time}");
                assert_eq!(
                    sealed
                        .read_block(bytes.next_multiple_of(block_bytes) as u64, block)
                        .unwrap(),
                    0
                );
                if time > 0 {
                    assert_eq!(sealed.direct.get(), Some(&false), "{bytes} bytes, time {time}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_lost_its_end_is_an_error() {
        let (_folder, store) = store(Durability::Fsync);
        put(&store, "a.png", &[1; 5000]).unwrap();
        let sealed = store.find(&id("a.png")).unwrap().unwrap();
        let path = store.images.join(id("a.png").file_name());
        OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(4000)
            .unwrap();
        assert!(matches!(sealed.read_block(0, &mut [0; 8192]), Err(Error::Io(_))));
    }

    #[test]
    fn a_taken_name_is_kept_when_asked() {
        let (_folder, store) = store(Durability::Fsync);
        put(&store, "a.png", b"one").unwrap();
        let mut draft = store.begin().unwrap();
        draft.write(0, b"two").unwrap();
        assert!(matches!(
            draft.commit(&id("a.png"), Replace::Refused),
            Err(Error::Taken)
        ));
        assert_eq!(content(&store, "a.png").unwrap(), b"one");
        assert_eq!(unfinished(&store), 0);
    }

    #[test]
    fn a_node_sweeps_only_its_own_drafts() {
        let (_folder, store) = store(Durability::Fsync);
        for name in ["2-0.part", "3-0.part", "22-0.part"] {
            fs::write(store.work.join(name), b"x").unwrap();
        }
        Store::open(&store.images, NodeId(2), Durability::Fsync).unwrap();
        let mut left: Vec<_> = fs::read_dir(&store.work)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["22-0.part", "3-0.part"]);
    }

    #[test]
    fn the_incarnation_grows_whatever_the_clock_does() {
        let (_folder, store) = store(Durability::Fsync);
        let at = |ms| SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms);
        assert_eq!(store.next_incarnation(at(5000)).unwrap(), 5000);
        assert_eq!(store.next_incarnation(at(1000)).unwrap(), 5001);
        assert_eq!(store.next_incarnation(at(9000)).unwrap(), 9000);
        fs::write(store.work.join("2.incarnation"), "x").unwrap();
        assert!(matches!(store.next_incarnation(at(9000)), Err(Error::Io(_))));
    }

    #[test]
    fn deleting_is_told_apart_from_nothing_to_delete() {
        let (_folder, store) = store(Durability::Fsync);
        put(&store, "a.png", b"one").unwrap();
        assert!(store.delete(&id("a.png")).unwrap());
        assert!(!store.delete(&id("a.png")).unwrap());
    }

    #[test]
    fn lists_come_in_pages_in_order_and_hold_nothing_foreign() {
        let (_folder, store) = store(Durability::Rename);
        for name in ["c.png", "a.png", "b.png"] {
            put(&store, name, b"x").unwrap();
        }
        fs::write(store.images.join("notes.txt"), b"x").unwrap();
        fs::write(store.images.join("encrypted_z.bob.png"), b"x").unwrap();
        let names = |after: &str, limit| -> Vec<String> {
            let entries = store.list("alice", after, limit).unwrap();
            entries.iter().map(|entry| entry.id.name().to_owned()).collect()
        };
        assert_eq!(names("", 10), ["a.png", "b.png", "c.png"]);
        assert_eq!(names("", 2), ["a.png", "b.png"]);
        assert_eq!(names("b.png", 2), ["c.png"]);
    }

    #[test]
    fn links_and_pipes_are_not_images() {
        let (folder, store) = store(Durability::Fsync);
        let secret = folder.path().join("secret");
        fs::write(&secret, b"secret").unwrap();
        std::os::unix::fs::symlink(&secret, store.images.join(id("link.png").file_name())).unwrap();
        assert_eq!(content(&store, "link.png"), None);
        put(&store, "link.png", b"new").unwrap();
        assert_eq!(
            fs::read(&secret).unwrap(),
            b"secret",
            "the link was replaced, not followed"
        );
        let pipe = store.images.join(id("pipe.png").file_name());
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(content(&store, "pipe.png"), None);
    }

    #[test]
    fn a_vanished_folder_is_an_error_and_not_made_anew() {
        let (_folder, store) = store(Durability::Fsync);
        fs::remove_dir_all(&store.work).unwrap();
        put(&store, "a.png", b"the work folder is made anew").unwrap();
        fs::remove_dir_all(&store.images).unwrap();
        assert!(matches!(put(&store, "a.png", b"x"), Err(Error::Io(_))));
        assert!(!store.images.exists());
    }
}
