//! The `seal` command and our sealing against the real Tink, in both directions.
//!
//! Runs where `TINK_PYTHON` names a Python that has the package `tink`: `make interop` installs one and sets it.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pixseal::image_id::ImageId;
use pixseal::keyset::Keyset;
use pixseal::seal::{self, Header};
use sha2::{Digest, Sha256};

use crate::{hex, plaintext, seal_file};

/// Plaintext sizes around the borders of the first three segments.
const SIZES: [u64; 13] = [
    0, 1, 15, 16, 17, 5_000, 1_048_503, 1_048_504, 1_048_505, 2_097_047, 2_097_048, 2_097_049, 7_000_000,
];

/// `None`, after a visible word, where there is no real Tink.
fn python() -> Option<String> {
    let python = std::env::var("TINK_PYTHON").ok();
    if python.is_none() {
        // Past the test harness, which would hide it: nobody shall take a skipped test for a passed one.
        let _ = writeln!(
            io::stderr(),
            "interop: SKIPPED, no real Tink here (TINK_PYTHON is not set)"
        );
    }
    python
}

fn with_tink(python: &str, arguments: &[&str], paths: &[&Path], more: &[String]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/with_tink.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args(arguments)
        .args(paths)
        .args(more)
        .output()
        .unwrap()
}

fn seal_command(secrets: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seal"));
    command
        .arg("--secrets")
        .arg(secrets)
        .args(arguments)
        .output()
        .unwrap()
}

fn assert_done(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn read_keyset(secrets: &Path) -> Keyset {
    Keyset::parse(&fs::read_to_string(secrets.join("keyset.json")).unwrap()).unwrap()
}

/// Seals an image of every size with the primary key, and gives their digests by file name.
fn seal_all(secrets: &Path, images: &Path, user: &str) -> BTreeMap<String, String> {
    let keyset = read_keyset(secrets);
    let mut digests = BTreeMap::new();
    for (random, size) in (1..).zip(SIZES) {
        // Every other one has a name as people have them.
        let name = if random % 2 == 0 {
            format!("Bild {size} \u{e4}.PNG")
        } else {
            format!("image_{size}.png")
        };
        let id = ImageId::new(user, &name).unwrap();
        let plain = plaintext(size);
        let file = seal_file(
            &keyset,
            &Header::of([random; seal::SALT_AND_PREFIX_BYTES]),
            &id.associated_data(),
            &plain,
        );
        fs::write(images.join(id.file_name()), file).unwrap();
        digests.insert(id.file_name(), hex(&Sha256::digest(&plain)));
    }
    digests
}

struct InteropFolder {
    _root: tempfile::TempDir,
    secrets: PathBuf,
    images: PathBuf,
}

fn place() -> InteropFolder {
    let root = tempfile::tempdir().unwrap();
    let (secrets, images) = (root.path().join("secrets"), root.path().join("images"));
    fs::create_dir(&images).unwrap();
    InteropFolder {
        _root: root,
        secrets,
        images,
    }
}

#[test]
fn tink_opens_what_we_seal_with_old_and_new_keys() {
    let Some(python) = python() else { return };
    let InteropFolder {
        secrets,
        images,
        _root,
    } = place();
    assert_done(&seal_command(&secrets, &["keyset", "new"]));
    let mut digests = seal_all(&secrets, &images, "old");
    assert_done(&seal_command(&secrets, &["keyset", "add"]));
    let added = read_keyset(&secrets).list().last().unwrap().0;
    assert_done(&seal_command(
        &secrets,
        &["keyset", "promote", &added.to_string()],
    ));
    digests.extend(seal_all(&secrets, &images, "new"));

    let keyset = secrets.join("keyset.json");
    let told = assert_done(&with_tink(&python, &["digest"], &[&keyset, &images], &[]));
    let opened: BTreeMap<String, String> = told
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    assert_eq!(opened, digests);
}

#[test]
fn we_open_what_tink_seals_with_a_keyset_of_its_own() {
    let Some(python) = python() else { return };
    let InteropFolder {
        secrets,
        images,
        _root,
    } = place();
    assert_done(&seal_command(&secrets, &["keyset", "new"]));
    let keyset = secrets.join("keyset.json");
    assert_done(&with_tink(&python, &["new"], &[&keyset], &[]));
    assert_done(&with_tink(
        &python,
        &["seal"],
        &[&keyset, &images],
        &SIZES.map(|size| size.to_string()),
    ));

    for size in SIZES {
        let path = images.join(format!("encrypted_{size}.tink.png"));
        let opened = seal_command(&secrets, &["open", path.to_str().unwrap()]);
        assert!(
            opened.status.success() && opened.stdout == plaintext(size),
            "{size} bytes"
        );
    }
    let told = assert_done(&seal_command(&secrets, &["verify", images.to_str().unwrap()]));
    assert_eq!(
        told,
        format!("{} verified, 0 bad, 0 others not looked at\n", SIZES.len())
    );
}

#[test]
fn tink_and_we_refuse_the_same_damage() {
    let Some(python) = python() else { return };
    let InteropFolder {
        secrets,
        images,
        _root,
    } = place();
    assert_done(&seal_command(&secrets, &["keyset", "new"]));
    let id = ImageId::new("alice", "whole.png").unwrap();
    let header = Header::of([7; seal::SALT_AND_PREFIX_BYTES]);
    let file = seal_file(
        &read_keyset(&secrets),
        &header,
        &id.associated_data(),
        &plaintext(2_500_000),
    );
    for (name, damaged) in [
        ("moved", file.clone()),
        ("cut", file[..file.len() - 1].to_vec()),
        ("without_last", file[..2 * seal::SEGMENT_BYTES].to_vec()),
        ("grown", [&file[..], &[0]].concat()),
        ("empty", Vec::new()),
    ] {
        let id = ImageId::new("alice", &format!("{name}.png")).unwrap();
        fs::write(images.join(id.file_name()), damaged).unwrap();
    }
    fs::write(images.join(id.file_name()), file).unwrap();
    for output in [
        seal_command(&secrets, &["verify", images.to_str().unwrap()]),
        with_tink(
            &python,
            &["verify"],
            &[&secrets.join("keyset.json"), &images],
            &[],
        ),
    ] {
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(told.lines().count(), 6, "{told}");
        assert!(told.lines().last().unwrap().starts_with("1 "), "{told}");
    }
}
