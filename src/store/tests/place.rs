//! Whose folder it is, whether it is where it was, and what its disk does.

use super::*;

#[test]
fn one_store_for_each_node_id_has_a_folder() {
    let (folder, two) = store(Durability::Fsync);
    let images = folder.path().join("images");
    let open = |id| Store::open(&images, NodeId(id), Durability::Fsync);
    let Err(Error::Io(said)) = open(2) else {
        panic!("two stores have the folder as one node");
    };
    for word in [
        "Node 2",
        images.to_str().unwrap(),
        &format!("process {}", std::process::id()),
        "--images",
    ] {
        assert!(said.contains(word), "{said}");
    }
    let three = open(3).unwrap();
    drop(two);
    drop(open(2).unwrap());
    drop(three);
}

#[test]
fn a_work_folder_that_is_made_anew_is_locked_too() {
    let (_folder, store) = store(Durability::Fsync);
    fs::remove_dir_all(work(&store)).unwrap();
    std::thread::scope(|scope| {
        for name in ["a.png", "b.png", "c.png", "d.png"] {
            let store = &store;
            scope.spawn(move || put(store, name, b"x").unwrap());
        }
    });
    assert!(Store::open(store.path(), NodeId(2), Durability::Fsync).is_err());
    let buried = store.bury(&id("a.png"), version(9), Base::Any).unwrap();
    assert_eq!(
        buried,
        WriteOutcome::Replaced,
        "there is room for tombstones again"
    );
    assert_eq!(held(&store, "a.png"), Some((9, true)));
    assert!(work(&store).join("names.lock").exists());
}

/// What came of everything that can be asked of a store.
fn everything(store: &Store) -> Vec<(&'static str, Result<(), Error>)> {
    let a = id("a.png");
    vec![
        ("find", store.find(&a).map(drop)),
        ("find nothing", store.find(&id("none.png")).map(drop)),
        ("held", store.held(&a).map(drop)),
        ("hold nothing", store.held(&id("none.png")).map(drop)),
        ("list", store.list("alice", "", 10).map(drop)),
        ("names", store.for_each_name(|_| {})),
        ("count", store.count_images(|| {}).map(drop)),
        ("begin", store.begin().map(drop)),
        ("probe", store.probe()),
        ("try", store.try_write()),
        (
            "bury",
            store.bury(&id("gone.png"), version(9), Base::Any).map(drop),
        ),
    ]
}

#[test]
fn a_lost_folder_says_so_to_everything_and_is_not_made_anew() {
    let (root, store) = store(Durability::Fsync);
    let (images, elsewhere) = (store.path().to_owned(), root.path().join("elsewhere"));
    put(&store, "a.png", b"one").unwrap();
    let mut late = store.begin().unwrap();
    late.write(0, b"late").unwrap();
    let all_lost = || {
        for (what, outcome) in everything(&store) {
            assert!(matches!(outcome, Err(Error::Lost(_))), "{what}: {outcome:?}");
        }
    };
    fs::rename(&images, &elsewhere).unwrap();
    all_lost();
    assert!(!images.exists());
    let kept = store.keep(&mut late, &id("late.png"), version(1), Base::Any);
    assert!(matches!(kept, Err(Error::Lost(_))));
    // Another folder of that name, as under a mount point.
    fs::create_dir(&images).unwrap();
    fs::remove_dir_all(elsewhere.join(".pixseal")).unwrap();
    all_lost();
    assert_eq!(fs::read_dir(&images).unwrap().count(), 0);
    assert!(matches!(store.sync_images(), Err(Error::Unsynced(_))));
    fs::remove_dir(&images).unwrap();
    fs::rename(&elsewhere, &images).unwrap();
    assert_eq!(content(&store, "a.png").unwrap(), b"one");
    put(&store, "b.png", b"the work folder is made anew").unwrap();
    fs::remove_dir_all(&images).unwrap();
    all_lost();
    assert!(!images.exists());
}

#[test]
fn what_writes_fail_with_is_noted_until_it_is_taken() {
    let (_folder, store) = store(Durability::Fsync);
    let full = || rustix::io::Errno::NOSPC.into();
    let noted = |error: std::io::Error| {
        let outcome: Result<(), Error> = Err(failed("write", store.path(), &error));
        assert!(store.work.faults.note(outcome).is_err());
    };
    assert_eq!(store.take_fault(), Condition::Able);
    noted(full());
    noted(rustix::io::Errno::IO.into());
    noted(full());
    assert_eq!(store.take_fault(), Condition::DiskFailing, "the worst of them");
    assert_eq!(store.take_fault(), Condition::Able);
    // One upload is too long for this process, or there is no descriptor: the disk is well.
    noted(rustix::io::Errno::FBIG.into());
    noted(rustix::io::Errno::MFILE.into());
    assert_eq!(store.take_fault(), Condition::Able);
    noted(rustix::io::Errno::ROFS.into());
    assert_eq!(store.take_fault(), Condition::ReadOnly);
    store.try_write().unwrap();
    assert_eq!(unfinished(&store), 0);
}

#[test]
fn a_node_is_drained_where_it_was_and_nowhere_else() {
    let (root, store) = store(Durability::Fsync);
    let images = store.path().to_owned();
    for (folder, node) in [(images.clone(), 2), (root.path().to_owned(), 2)] {
        let Err(Error::Io(said)) = drain::mark(&folder, NodeId(node)) else {
            panic!("drained before its first start");
        };
        assert!(said.contains("--images"), "{said}");
    }
    assert!(!root.path().join(".pixseal").exists());
    store.begin_life(SystemTime::UNIX_EPOCH, 1).unwrap();
    assert!(drain::mark(&images, NodeId(3)).is_err());
    assert!(!store.is_draining().unwrap());
    assert!(drain::mark(&images, NodeId(2)).unwrap());
    assert!(!drain::mark(&images, NodeId(2)).unwrap(), "already");
    assert!(store.is_draining().unwrap());
    drop(store);
    let store = Store::open(&images, NodeId(2), Durability::Fsync).unwrap();
    assert!(store.is_draining().unwrap(), "over a restart");
    assert!(drain::unmark(&images, NodeId(2)).unwrap());
    assert!(!drain::unmark(&images, NodeId(2)).unwrap(), "already");
    assert!(!store.is_draining().unwrap());
    assert_eq!(unfinished(&store), 0);
}
