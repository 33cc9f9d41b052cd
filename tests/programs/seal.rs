//! The `seal` command as its users see it: what it prints, where it writes, and how it exits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pixseal::image_id::ImageId;
use pixseal::seal::{Header, SALT_AND_PREFIX_BYTES, SegmentCipher, TAG_BYTES};
use pixseal::secrets;

/// Exit status, standard output, standard error.
struct Told(i32, String, String);

struct SealFolder {
    root: tempfile::TempDir,
}

impl SealFolder {
    fn new() -> SealFolder {
        let folder = SealFolder {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(folder.path("images")).unwrap();
        folder
    }

    fn with_keys() -> SealFolder {
        let folder = SealFolder::new();
        assert_eq!(folder.seal(&["keyset", "new"]).0, 0);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn seal(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seal"));
        let output = command
            .current_dir(self.root.path())
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Told(
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn put(&self, user: &str, name: &str, plain: &[u8]) -> PathBuf {
        let id = ImageId::new(user, name).unwrap();
        let header = Header::of([3; SALT_AND_PREFIX_BYTES]);
        let keyset = secrets::load_keyset(&self.path("secrets")).unwrap();
        let mut segment = [plain, &[0; TAG_BYTES]].concat();
        SegmentCipher::new(keyset.primary(), &header, &id.associated_data()).seal(0, true, &mut segment);
        let path = self.path("images").join(id.file_name());
        fs::write(&path, [&header.encode()[..], &segment].concat()).unwrap();
        path
    }

    fn key_values(&self) -> Vec<String> {
        let json = fs::read_to_string(self.path("secrets/keyset.json")).unwrap();
        json.split('"')
            .filter(|word| word.starts_with("EggI"))
            .map(str::to_owned)
            .collect()
    }
}

fn flip_last_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let folder = SealFolder::with_keys();
    for (arguments, reason) in [
        (&[][..], "no command"),
        (&["sael"], "unknown command"),
        (&["keyset"], "unknown command"),
        (&["keyset", "promote", "x"], "\"x\" is no key"),
        (&["open"], "unknown command"),
        (&["open", "cat.png"], "--as USER/NAME"),
        (&["open", "cat.png", "--as", "cat.png"], "--as wants USER/NAME"),
        (
            &["open", "cat.png", "--as", "alice/../cat.png"],
            "--as alice/../cat.png",
        ),
        (&["verify", "images", "-o", "x"], "belong to open"),
        (&["verify", "--frobnicate"], "frobnicate"),
    ] {
        let Told(status, out, err) = folder.seal(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(
            err.contains(reason) && err.lines().count() == 1,
            "{arguments:?}: {err}"
        );
    }
    let Told(status, out, _) = folder.seal(&["--help"]);
    assert!(status == 0 && out.contains("usage: seal"));
    assert_eq!(folder.seal(&["--version"]).0, 0);
}

#[test]
fn a_keyset_is_made_once_grows_and_is_never_printed() {
    let folder = SealFolder::new();
    assert_eq!(
        folder.seal(&["keyset", "list"]).0,
        1,
        "nothing is created by looking"
    );
    assert!(!folder.path("secrets").exists());
    let mut told = String::new();
    for arguments in [&["keyset", "new"][..], &["keyset", "add"], &["keyset", "list"]] {
        let Told(status, out, err) = folder.seal(arguments);
        assert_eq!((status, err.as_str()), (0, ""));
        told += &out;
    }
    let before = folder.key_values();
    assert_eq!(before.len(), 2);
    let Told(status, out, err) = folder.seal(&["keyset", "new"]);
    assert!(
        status == 1 && out.is_empty() && err.contains("never overwritten"),
        "{err}"
    );
    assert_eq!(folder.key_values(), before);
    assert!(before.iter().all(|value| !told.contains(&value[24..])), "{told}");
    let mode = fs::metadata(folder.path("secrets/keyset.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_promoted_key_is_the_one_that_seals() {
    let folder = SealFolder::with_keys();
    folder.put("alice", "old.png", b"old");
    folder.seal(&["keyset", "add"]);
    let Told(_, list, _) = folder.seal(&["keyset", "list"]);
    let rows: Vec<&str> = list.lines().collect();
    assert!(
        rows[0].ends_with("enabled, seals") && rows[1].ends_with("enabled"),
        "{list}"
    );
    let id = rows[1].split_whitespace().next().unwrap();
    assert_eq!(folder.seal(&["keyset", "promote", id]).0, 0);
    let Told(_, list, _) = folder.seal(&["keyset", "list"]);
    assert!(list.lines().nth(1).unwrap().ends_with("enabled, seals"), "{list}");
    folder.put("alice", "new.png", b"new");
    assert_eq!(
        folder.seal(&["verify", "images"]).1,
        "2 verified, 0 bad, 0 others not looked at\n"
    );
    assert_eq!(folder.seal(&["keyset", "promote", "1"]).0, 1);
}

#[test]
fn open_writes_the_image_to_standard_output_or_to_a_file() {
    let folder = SealFolder::with_keys();
    let sealed = folder.put("alice", "cat.png", b"a cat");
    let file = sealed.to_str().unwrap();
    assert_eq!(folder.seal(&["open", file]).1, "a cat");
    assert_eq!(folder.seal(&["open", file, "-o", "cat.png"]).0, 0);
    assert_eq!(fs::read(folder.path("cat.png")).unwrap(), b"a cat");
    fs::rename(&sealed, folder.path("backup")).unwrap();
    assert_eq!(
        folder.seal(&["open", "backup", "--as", "alice/cat.png"]).1,
        "a cat"
    );
    let Told(status, out, err) = folder.seal(&["open", "backup", "--as", "alice/dog.png"]);
    assert!(
        status == 1 && out.is_empty() && err.contains("backup: forged"),
        "{err}"
    );
}

#[test]
fn a_damaged_image_leaves_no_output_and_loses_no_older_one() {
    let folder = SealFolder::with_keys();
    let sealed = folder.put("alice", "cat.png", b"a cat");
    flip_last_byte(&sealed);
    fs::write(folder.path("cat.png"), b"the cat of yesterday").unwrap();
    let file = sealed.to_str().unwrap();
    assert_eq!(folder.seal(&["open", file, "-o", "cat.png"]).0, 1);
    assert_eq!(folder.seal(&["open", file, "-o", "images/new.png"]).0, 1);
    assert_eq!(fs::read(folder.path("cat.png")).unwrap(), b"the cat of yesterday");
    assert_eq!(fs::read_dir(folder.path("images")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.root.path()).unwrap().count(), 3);
}

#[test]
fn verify_names_every_bad_image_and_exits_with_1() {
    let folder = SealFolder::with_keys();
    for name in ["a.png", "b.png", "c.png"] {
        folder.put("alice", name, b"image");
    }
    fs::write(folder.path("images/.gitkeep"), b"").unwrap();
    flip_last_byte(&folder.path("images/encrypted_b.alice.png"));
    fs::rename(
        folder.path("images/encrypted_c.alice.png"),
        folder.path("images/encrypted_c.bob.png"),
    )
    .unwrap();
    let Told(status, out, _) = folder.seal(&["verify", "images"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((status, lines.len()), (1, 3), "{out}");
    assert!(
        lines[0].starts_with("images/encrypted_b.alice.png: forged"),
        "{out}"
    );
    assert!(
        lines[1].starts_with("images/encrypted_c.bob.png: forged"),
        "{out}"
    );
    assert_eq!(lines[2], "1 verified, 2 bad, 1 others not looked at");
    assert_eq!(folder.seal(&["verify", "nowhere"]).0, 1);
}

#[test]
fn a_token_is_printed_once_listed_and_revoked() {
    let folder = SealFolder::new();
    let Told(status, _, said) = folder.seal(&["token", "list"]);
    assert_eq!((status, said.contains("secrets")), (1, true), "{said}");
    let Told(status, token, said) = folder.seal(&["token", "add", "alice", "--expires", "30d"]);
    assert_eq!((status, token.lines().count()), (0, 1), "{said}");
    assert!(token.starts_with("pixseal_"));
    assert!(said.contains("nobody gets in without a token"), "{said}");
    let file = folder.path("secrets").join(secrets::TOKENS_FILE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = token.trim().splitn(3, '_').nth(2).unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains(secret));
    let Told(status, _, said) = folder.seal(&["token", "add", "ops", "--rights", "admin"]);
    assert_eq!((status, said.contains("without a token")), (0, false), "{said}");
    let Told(0, listed, _) = folder.seal(&["token", "list"]) else {
        panic!("not listed");
    };
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    let of = |user: &str| *lines.iter().find(|line| line.contains(user)).unwrap();
    assert!(of("alice").contains("read,write,delete,list") && of("alice").contains("until "));
    assert!(of("ops").contains("admin") && of("ops").contains("for ever"));
    let id = of("alice").split_whitespace().next().unwrap();
    assert_eq!(folder.seal(&["token", "revoke", id]).0, 0);
    let Told(status, _, said) = folder.seal(&["token", "revoke", id]);
    assert_eq!((status, said.contains("no token")), (1, true), "{said}");
    assert!(!folder.seal(&["token", "list"]).1.contains("alice"));
    for (arguments, word) in [
        (&["token", "add"][..], "number of words"),
        (&["token", "add", "alice", "--rights", "fly"], "--rights"),
        (&["token", "add", "alice", "--expires", "0d"], "--expires"),
        (&["token", "add", "alice", "--expires", "soon"], "--expires"),
        (&["token", "add", "alice", "--expires", "999999w"], "--expires"),
        (&["token", "list", "--rights", "read"], "token add"),
    ] {
        let Told(status, _, said) = folder.seal(arguments);
        assert_eq!((status, said.contains(word)), (2, true), "{arguments:?}: {said}");
    }
    let Told(status, _, said) = folder.seal(&["token", "add", "al.ice"]);
    assert_eq!((status, said.contains("user")), (1, true), "{said}");
}
