//! The store through its door, in a folder of its own.

mod place;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::*;
use crate::seal::{Header, RANDOM_BYTES};
use crate::version::Time;

fn store(durability: Durability) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("images"), NodeId(2), durability).unwrap();
    (folder, store)
}

fn id(name: &str) -> ImageId {
    ImageId::new("alice", name).unwrap()
}

/// Bytes without a header are older than every version.
fn put(store: &Store, name: &str, bytes: &[u8]) -> Result<WriteOutcome, Error> {
    put_version(store, name, bytes, version(1))
}

fn put_version(store: &Store, name: &str, bytes: &[u8], version: Version) -> Result<WriteOutcome, Error> {
    let mut draft = store.begin()?;
    draft.write(0, bytes)?;
    draft.sync()?;
    let outcome = store.keep(&mut draft, &id(name), version, Base::Any)?;
    store.sync_images()?;
    Ok(outcome)
}

fn version(ms: u64) -> Version {
    Version {
        time: Time::from_ms(ms),
        node: NodeId(2),
    }
}

/// A file with this version in its header.
fn sealed(ms: u64) -> Vec<u8> {
    let header = Header::new(version(ms), [7; RANDOM_BYTES]);
    [&header.encode()[..], &[9; 100]].concat()
}

fn put_sealed(store: &Store, name: &str, ms: u64) -> WriteOutcome {
    put_version(store, name, &sealed(ms), version(ms)).unwrap()
}

/// The copy that is held: its milliseconds, and whether it is a tombstone.
fn held(store: &Store, name: &str) -> Option<(u64, bool)> {
    let held = store.held(&id(name)).unwrap()?.copy();
    Some((held.version.time.ms(), held.deleted))
}

fn content(store: &Store, name: &str) -> Option<Vec<u8>> {
    let sealed = store.find(&id(name)).unwrap()?;
    let mut bytes = vec![0; usize::try_from(sealed.bytes()).unwrap()];
    assert_eq!(sealed.read_piece(0, &mut bytes).unwrap(), bytes.len());
    Some(bytes)
}

fn work(store: &Store) -> PathBuf {
    store.images.path().join(".pixseal")
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
        assert_eq!(put(&store, "a.png", b"one").unwrap(), WriteOutcome::Created);
        assert_eq!(put(&store, "a.png", b"two!").unwrap(), WriteOutcome::Replaced);
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
        store
            .keep(&mut draft, &id("a.png"), version(1), Base::Any)
            .unwrap();
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
fn nothing_older_takes_the_place_of_something_newer() {
    let (_folder, store) = store(Durability::Fsync);
    assert_eq!(put_sealed(&store, "a.png", 5), WriteOutcome::Created);
    for (ms, outcome) in [(4, WriteOutcome::Superseded), (5, WriteOutcome::Present)] {
        assert_eq!(put_sealed(&store, "a.png", ms), outcome);
        assert_eq!(store.bury(&id("a.png"), version(ms), Base::Any).unwrap(), outcome);
        assert_eq!(held(&store, "a.png"), Some((5, false)));
    }
    assert_eq!(unfinished(&store), 0);
    assert_eq!(put_sealed(&store, "a.png", 6), WriteOutcome::Replaced);
    assert_eq!(held(&store, "a.png"), Some((6, false)));
}

#[test]
fn a_tombstone_hides_what_is_older_and_nothing_newer() {
    for durability in [Durability::Fsync, Durability::Rename] {
        let (_folder, store) = store(durability);
        put_sealed(&store, "a.png", 5);
        assert_eq!(
            store.bury(&id("a.png"), version(6), Base::Any).unwrap(),
            WriteOutcome::Replaced
        );
        assert_eq!(content(&store, "a.png"), None);
        assert_eq!(held(&store, "a.png"), Some((6, true)));
        assert_eq!(
            put_sealed(&store, "a.png", 5),
            WriteOutcome::Superseded,
            "a copy comes late"
        );
        assert_eq!(
            store.bury(&id("a.png"), version(7), Base::Any).unwrap(),
            WriteOutcome::Created
        );
        assert_eq!(put_sealed(&store, "a.png", 8), WriteOutcome::Created);
        assert_eq!(held(&store, "a.png"), Some((8, false)));
        assert!(store.tombstones(|_| true).unwrap().is_empty());
    }
}

#[test]
fn an_image_that_outlived_its_delete_is_hidden() {
    let (_folder, store) = store(Durability::Fsync);
    store.bury(&id("a.png"), version(6), Base::Any).unwrap();
    // As after a power loss between the tombstone and the removal of the image.
    fs::write(store.images.path().join(id("a.png").file_name()), sealed(5)).unwrap();
    assert_eq!(held(&store, "a.png"), Some((6, true)));
    let (listed, _) = store.list("alice", "", 10).unwrap();
    assert_eq!(
        listed.iter().map(|image| image.sealed_bytes).collect::<Vec<_>>(),
        [None]
    );
}

/// The tombstone is there, and the process ended before the image was gone.
fn cut_delete(store: &Store, name: &str, ms: u64) {
    let tombstones = work(store).join("tombstones");
    fs::write(
        tombstones.join(id(name).file_name()),
        format!("{}\n", version(ms)),
    )
    .unwrap();
}

#[test]
fn a_delete_that_was_cut_is_finished() {
    let (_folder, store) = store(Durability::Fsync);
    for name in ["old.png", "new.png", "kept.png"] {
        put_sealed(&store, name, 5);
    }
    cut_delete(&store, "old.png", 6);
    cut_delete(&store, "new.png", 4);
    store.finish_deletes().unwrap();
    assert_eq!(held(&store, "old.png"), Some((6, true)));
    assert!(store.image(&id("old.png")).unwrap().is_none(), "its file is gone");
    assert_eq!(held(&store, "new.png"), Some((5, false)));
    assert_eq!(held(&store, "kept.png"), Some((5, false)));
}

#[test]
fn an_image_that_outlived_its_delete_is_not_back_when_the_tombstone_goes() {
    let (_folder, store) = store(Durability::Fsync);
    put_sealed(&store, "a.png", 5);
    cut_delete(&store, "a.png", 6);
    store.forget_tombstone(&id("a.png"), version(6)).unwrap();
    assert_eq!(held(&store, "a.png"), None);
}

#[test]
fn what_is_forgotten_is_that_write_or_older() {
    let (_folder, store) = store(Durability::Fsync);
    put_sealed(&store, "a.png", 5);
    store.forget(&id("a.png"), version(4)).unwrap();
    assert_eq!(held(&store, "a.png"), Some((5, false)));
    store.forget(&id("a.png"), version(5)).unwrap();
    assert_eq!(held(&store, "a.png"), None);
    store.bury(&id("a.png"), version(6), Base::Any).unwrap();
    store.forget_tombstone(&id("a.png"), version(5)).unwrap();
    assert_eq!(held(&store, "a.png"), Some((6, true)));
    let expired = store.tombstones(|version| version.time.ms() < 7).unwrap();
    assert_eq!(expired, [(id("a.png"), version(6))]);
    store.forget_tombstone(&id("a.png"), version(6)).unwrap();
    assert_eq!(held(&store, "a.png"), None);
}

#[test]
fn two_stores_in_one_folder_are_one_folder_and_a_copy_is_another() {
    let (folder, two) = store(Durability::Fsync);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    let images = two.images.path().to_owned();
    let three = Store::open(&images, NodeId(3), Durability::Fsync).unwrap();
    let of_two = two.begin_life(at, 1).unwrap();
    let of_three = three.begin_life(at, 2).unwrap();
    assert_eq!(of_two.folder, of_three.folder);
    assert_eq!(of_three.companions, [NodeId(2)].into());
    three.keep_met(&[NodeId(1), NodeId(2)].into()).unwrap();
    three.keep_clock(Time::from_ms(70_000)).unwrap();
    drop(three);
    let again = Store::open(&images, NodeId(3), Durability::Fsync).unwrap();
    let again = again.begin_life(at, 3).unwrap();
    assert_eq!(again.met, [NodeId(1), NodeId(2)].into());
    assert!(again.clock > Time::from_ms(70_000));
    let copy = folder.path().join("copy");
    fs::create_dir_all(copy.join(".pixseal")).unwrap();
    let name = images.join(".pixseal").join("folder");
    fs::copy(name, copy.join(".pixseal").join("folder")).unwrap();
    let copy = Store::open(&copy, NodeId(2), Durability::Fsync).unwrap();
    assert_ne!(copy.begin_life(at, 4).unwrap().folder, of_two.folder);
}

#[test]
fn a_node_sweeps_only_its_own_drafts() {
    let (_folder, store) = store(Durability::Fsync);
    for name in ["2-0.part", "3-0.part", "22-0.part"] {
        fs::write(work(&store).join(name), b"x").unwrap();
    }
    let images = store.path().to_owned();
    let taken = Store::open(&images, NodeId(2), Durability::Fsync);
    assert!(taken.is_err());
    assert_eq!(unfinished(&store), 3, "nothing is swept while the node runs");
    drop(store);
    let store = Store::open(&images, NodeId(2), Durability::Fsync).unwrap();
    let mut left: Vec<_> = fs::read_dir(work(&store))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|name| name.to_string_lossy().ends_with(".part"))
        .collect();
    left.sort();
    assert_eq!(left, ["22-0.part", "3-0.part"]);
}

#[test]
fn the_incarnation_grows_whatever_the_clock_does() {
    let (_folder, store) = store(Durability::Fsync);
    let begin = |ms| store.begin_life(SystemTime::UNIX_EPOCH + Duration::from_millis(ms), 1);
    assert_eq!(begin(5000).unwrap().incarnation, 5000);
    assert_eq!(begin(1000).unwrap().incarnation, 5001);
    assert_eq!(begin(9000).unwrap().incarnation, 9000);
    for broken in ["x", "18446744073709551615", "281474976710655"] {
        fs::write(work(&store).join("2.incarnation"), broken).unwrap();
        assert!(matches!(begin(9000), Err(Error::Io(_))), "{broken}");
    }
    fs::write(work(&store).join("2.incarnation"), "7").unwrap();
    assert!(matches!(store.reincarnate(u64::MAX), Err(Error::Io(_))));
}

#[test]
fn lists_come_in_pages_in_order_and_hold_nothing_foreign() {
    let (_folder, store) = store(Durability::Rename);
    for name in ["c.png", "a.png", "b.png"] {
        put(&store, name, b"x").unwrap();
    }
    fs::write(store.images.path().join("notes.txt"), b"x").unwrap();
    fs::write(store.images.path().join("encrypted_z.bob.png"), b"x").unwrap();
    let names = |after: &str, limit| -> (Vec<String>, Option<String>) {
        let (images, next) = store.list("alice", after, limit).unwrap();
        (
            images.iter().map(|image| image.id.name().to_owned()).collect(),
            next,
        )
    };
    let expected = |names: &[&str], next: Option<&str>| {
        (
            names.iter().map(|name| (*name).to_owned()).collect(),
            next.map(str::to_owned),
        )
    };
    assert_eq!(names("", 10), expected(&["a.png", "b.png", "c.png"], None));
    assert_eq!(names("", 3), expected(&["a.png", "b.png", "c.png"], None));
    assert_eq!(names("", 2), expected(&["a.png", "b.png"], Some("b.png")));
    assert_eq!(names("b.png", 2), expected(&["c.png"], None));
    // A file that cannot be read does not end the list.
    let unreadable = store.images.path().join(id("a.png").file_name());
    fs::remove_file(&unreadable).unwrap();
    fs::create_dir(&unreadable).unwrap();
    assert_eq!(names("", 2), expected(&["b.png"], Some("b.png")));
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
fn what_the_disk_does_not_give_is_an_error_of_its_own() {
    let (_folder, store) = store(Durability::Fsync);
    put(&store, "a.png", b"one").unwrap();
    let path = store.images.path().join(id("a.png").file_name());
    let cannot_be_read = OpenOptions::new().write(true).open(&path).unwrap();
    let outcome = Sealed::new(
        &store.images,
        &store.recent,
        cannot_be_read,
        id("a.png").file_name(),
    );
    assert!(matches!(outcome, Err(Error::Io(text)) if text.starts_with("cannot read ")));
}

#[test]
fn a_write_that_went_by_another_version_changes_nothing() {
    let (_root, store) = store(Durability::Fsync);
    let base = |ms: Option<u64>| Base::Version(ms.map(version));
    let put_over = |ms, over| {
        let mut draft = store.begin()?;
        draft.write(0, &sealed(ms))?;
        draft.sync()?;
        store.keep(&mut draft, &id("a.png"), version(ms), base(over))
    };
    assert_eq!(put_over(2, None).unwrap(), WriteOutcome::Created);
    for over in [None, Some(1), Some(3)] {
        assert!(matches!(put_over(5, over), Err(Error::Changed)), "{over:?}");
        let buried = store.bury(&id("a.png"), version(5), base(over));
        assert!(matches!(buried, Err(Error::Changed)), "{over:?}");
    }
    assert_eq!(held(&store, "a.png"), Some((2, false)));
    assert_eq!(put_over(3, Some(2)).unwrap(), WriteOutcome::Replaced);
    let buried = store.bury(&id("a.png"), version(4), base(Some(3)));
    assert_eq!(buried.unwrap(), WriteOutcome::Replaced);
    assert!(
        matches!(put_over(5, None), Err(Error::Changed)),
        "the tombstone is a version too"
    );
    assert_eq!(put_over(5, Some(4)).unwrap(), WriteOutcome::Created);
}
