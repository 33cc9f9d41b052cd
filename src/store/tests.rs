//! The store through its door, in a folder of its own.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use tempfile::TempDir;

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::*;
use crate::durable::Outcome;

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

fn work(store: &Store) -> PathBuf {
    store.images.path().join(WORK_FOLDER)
}

fn unfinished(store: &Store) -> usize {
    let is_part = |e: &fs::DirEntry| e.path().extension() == Some(OsStr::new("part"));
    fs::read_dir(work(store))
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
    let (folder, store) = store(Durability::Fsync);
    let supported = set_direct(&File::create(folder.path().join("probe")).unwrap(), true);
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
            let expected = time == 0 && bytes >= DIRECT_BYTES_MIN && supported;
            assert_eq!(sealed.direct.get(), Some(&expected), "{bytes} bytes, time {time}");
        }
    }
}

#[test]
fn a_file_that_lost_its_end_is_an_error() {
    let (_folder, store) = store(Durability::Fsync);
    put(&store, "a.png", &[1; 5000]).unwrap();
    let sealed = store.find(&id("a.png")).unwrap().unwrap();
    let path = store.images.path().join(id("a.png").file_name());
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
        fs::write(work(&store).join(name), b"x").unwrap();
    }
    Store::open(store.images.path(), NodeId(2), Durability::Fsync).unwrap();
    let mut left: Vec<_> = fs::read_dir(work(&store))
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
    fs::write(work(&store).join("2.incarnation"), "x").unwrap();
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
    fs::write(store.images.path().join("notes.txt"), b"x").unwrap();
    fs::write(store.images.path().join("encrypted_z.bob.png"), b"x").unwrap();
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
    std::os::unix::fs::symlink(&secret, store.images.path().join(id("link.png").file_name())).unwrap();
    assert_eq!(content(&store, "link.png"), None);
    put(&store, "link.png", b"new").unwrap();
    assert_eq!(
        fs::read(&secret).unwrap(),
        b"secret",
        "the link was replaced, not followed"
    );
    let pipe = store.images.path().join(id("pipe.png").file_name());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert_eq!(content(&store, "pipe.png"), None);
}

#[test]
fn a_vanished_folder_is_an_error_and_not_made_anew() {
    let (_folder, store) = store(Durability::Fsync);
    fs::remove_dir_all(work(&store)).unwrap();
    put(&store, "a.png", b"the work folder is made anew").unwrap();
    fs::remove_dir_all(store.images.path()).unwrap();
    assert!(matches!(put(&store, "a.png", b"x"), Err(Error::Io(_))));
    assert!(!store.images.path().exists());
}

#[test]
fn what_the_disk_does_not_give_is_an_error_of_its_own() {
    let (_folder, store) = store(Durability::Fsync);
    put(&store, "a.png", b"one").unwrap();
    let path = store.images.path().join(id("a.png").file_name());
    let cannot_be_read = OpenOptions::new().write(true).open(&path).unwrap();
    let sealed = Sealed::new(
        &store.images,
        &store.recent,
        cannot_be_read,
        id("a.png").file_name(),
    )
    .unwrap()
    .unwrap();
    for outcome in [
        sealed.read_start(&mut [0; 3]),
        sealed.read_block(0, &mut [0; 4096]).map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Io(text)) if text.starts_with("cannot read ")));
    }
}
