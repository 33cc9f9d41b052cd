//! The secrets of a node on disk: the keyset that seals its images, and the key that its cluster speaks under.
//!
//! ```text
//! secrets/              0700
//!   keyset.json         0600   see `keyset`
//!   cluster.key         0600   32 bytes as 64 hexadecimal digits, and a newline
//!   tokens              0600   see `tokens`; without it, everybody may do everything
//! ```
//!
//! What is missing is created, safely when several nodes start at once: each writes its own temporary file and commits
//! it without replacing; the first one wins, and all then read what is there. What exists is changed only by
//! [`update_keyset`] and [`update_tokens`]. Files that others could read, links and anything else that is
//! not a plain file are refused.
//!
//! The only room that reads keys from files and draws the random numbers that they are made of.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the edge for secrets: its files, and the random numbers of the system"
)]

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::durable::{self, Durability, Replace, TemporaryFile};
use crate::keyset::{self, Keyset};
use crate::tokens::{self, Tokens};

/// The folder where it is not named.
pub const FOLDER: &str = "secrets";
/// The file with the keyset.
pub(crate) const KEYSET_FILE: &str = "keyset.json";
/// The file with the key of the cluster.
pub(crate) const CLUSTER_FILE: &str = "cluster.key";

/// The file with the tokens of users.
pub const TOKENS_FILE: &str = "tokens";

const CLUSTER_KEY_BYTES: usize = 32;

/// What a node keeps from everybody else.
pub struct Secrets {
    /// Seals and opens images.
    pub keyset: Keyset,
    /// Authenticates the datagrams between nodes.
    pub cluster_key: Zeroizing<[u8; CLUSTER_KEY_BYTES]>,
}

/// Which file could not be used, why, and what to do about it. Never holds key material. Whatever was on disk before
/// is still there.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<durable::Error> for Error {
    fn from(error: durable::Error) -> Error {
        Error(error.to_string())
    }
}

/// Reads the secrets in `dir`; creates the folder and the files that are missing.
pub fn load_or_create(dir: &Path) -> Result<Secrets, Error> {
    let folder = SecretsFolder::create(dir)?;
    if !folder.holds(KEYSET_FILE)? {
        folder.publish(KEYSET_FILE, &Keyset::new(&random()?).to_json())?;
    }
    if !folder.holds(CLUSTER_FILE)? {
        folder.publish(CLUSTER_FILE, &hex_line(&random()?))?;
    }
    Ok(Secrets {
        keyset: folder.keyset()?,
        cluster_key: folder.cluster_key()?,
    })
}

/// Reads the keyset in `dir` and creates nothing.
pub fn load_keyset(dir: &Path) -> Result<Keyset, Error> {
    SecretsFolder::open(dir)?.keyset()
}

/// Creates the secrets in `dir` if there is no keyset yet; an error if there is one.
pub fn create(dir: &Path) -> Result<Secrets, Error> {
    match SecretsFolder::create(dir)?.holds(KEYSET_FILE)? {
        true => error(
            &dir.join(KEYSET_FILE),
            "exists already, and keys are never overwritten",
        ),
        false => load_or_create(dir),
    }
}

/// Changes the keyset in `dir`. A reader sees the old or the new one, never a part; a lock lets one change it at a time.
pub fn update_keyset<T>(
    dir: &Path,
    change: impl FnOnce(&mut Keyset) -> Result<T, keyset::Error>,
) -> Result<T, Error> {
    let folder = SecretsFolder::open(dir)?;
    folder.lock()?;
    let mut keyset = folder.keyset()?;
    let changed = change(&mut keyset).map_err(|why| Error(why.to_string()))?;
    folder.replace(KEYSET_FILE, &keyset.to_json())?;
    Ok(changed)
}

/// Reads the tokens in `dir`; `None` if there is no file of them.
pub fn load_tokens(dir: &Path) -> Result<Option<Tokens>, Error> {
    SecretsFolder::open(dir)?.tokens()
}

/// Changes the tokens in `dir`; folder and file are created if they are missing. As [`update_keyset`].
pub fn update_tokens<T>(
    dir: &Path,
    change: impl FnOnce(&mut Tokens) -> Result<T, tokens::Error>,
) -> Result<T, Error> {
    let folder = SecretsFolder::create(dir)?;
    folder.lock()?;
    let mut tokens = folder.tokens()?.unwrap_or_default();
    let changed = change(&mut tokens).map_err(|why| Error(why.to_string()))?;
    let text = tokens.to_text();
    if text.len() > tokens::FILE_BYTES_MAX {
        return error(
            &folder.path(TOKENS_FILE),
            &format!(
                "would be longer than {} bytes: revoke tokens first",
                tokens::FILE_BYTES_MAX
            ),
        );
    }
    folder.replace(TOKENS_FILE, text.as_bytes())?;
    Ok(changed)
}

/// Fresh random bytes from the operating system.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    match getrandom::fill(&mut *bytes) {
        Ok(()) => Ok(bytes),
        Err(e) => Err(Error(format!("the system gives no random numbers: {e}"))),
    }
}

/// The open folder of the secrets.
struct SecretsFolder(Arc<durable::Folder>);

impl SecretsFolder {
    fn create(dir: &Path) -> Result<SecretsFolder, Error> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.map_err(|e| cannot("create", dir, e))?;
        SecretsFolder::open(dir)
    }

    fn open(dir: &Path) -> Result<SecretsFolder, Error> {
        let folder = durable::Folder::open(dir)?;
        let metadata = folder.file().metadata().map_err(|e| cannot("look at", dir, e))?;
        // A user who may write into the folder may exchange the files in it.
        if metadata.mode() & 0o022 != 0 {
            return error(
                dir,
                &format!("can be changed by other users: chmod 700 {}", dir.display()),
            );
        }
        Ok(SecretsFolder(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn holds(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::statat(self.0.file(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(cannot("look at", &self.path(name), e)),
        }
    }

    /// Lets others wait who change what is here, until this is dropped.
    fn lock(&self) -> Result<(), Error> {
        let locked = rustix::fs::flock(self.0.file(), FlockOperation::LockExclusive);
        locked.map_err(|e| cannot("lock", self.0.path(), e))
    }

    /// Gives `bytes` the name, in place of what had it.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let temporary = self.write_temporary(bytes)?;
        temporary.commit(&self.0, name, Replace::Allowed, Durability::Fsync)?;
        Ok(())
    }

    /// Gives `bytes` the name unless another node was faster, in which case nothing happens.
    fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let temporary = self.write_temporary(bytes)?;
        match temporary.commit(&self.0, name, Replace::Refused, Durability::Fsync) {
            Ok(_) => Ok(()),
            // The other node may not have made the name durable yet, and no image may be sealed with a key that can still be lost.
            Err(durable::Error::Taken) => Ok(self.0.sync()?),
            Err(e) => Err(e.into()),
        }
    }

    /// A new file that nobody else may read, with `bytes` in it.
    fn write_temporary(&self, bytes: &[u8]) -> Result<TemporaryFile, Error> {
        let name = format!(".new-{:016x}", u64::from_ne_bytes(*random()?));
        let temporary = self.0.create_temporary(name, 0o600)?;
        let written = temporary.file().write_all(bytes);
        written.map_err(|e| cannot("write", &temporary.path(), e))?;
        Ok(temporary)
    }

    /// The text of a file of at most `bytes_max` bytes that only its owner can read.
    fn read(&self, name: &str, bytes_max: usize) -> Result<Zeroizing<String>, Error> {
        let path = self.path(name);
        // Without NONBLOCK, a pipe in place of the file would hold the node up for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.0.file(), name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return error(&path, "is a symbolic link: put the file itself there"),
            Err(e) => return Err(cannot("open", &path, e)),
        };
        let metadata = file.metadata().map_err(|e| cannot("look at", &path, e))?;
        if !metadata.is_file() {
            return error(&path, "is not a plain file");
        }
        if metadata.mode() & 0o077 != 0 {
            return error(
                &path,
                &format!("can be read by other users: chmod 600 {}", path.display()),
            );
        }
        let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return error(&path, &format!("is longer than {bytes_max} bytes"));
        }
        // One allocation of the final size, so that no copy is left behind that is not wiped.
        let mut text = Zeroizing::new(String::with_capacity(bytes + 2));
        let read = file.take(bytes as u64 + 1).read_to_string(&mut text);
        read.map_err(|e| cannot("read", &path, e))?;
        match text.len() <= bytes {
            true => Ok(text),
            false => error(&path, "has changed while it was read: try again"),
        }
    }

    /// `None`: there is no file of them.
    fn tokens(&self) -> Result<Option<Tokens>, Error> {
        if !self.holds(TOKENS_FILE)? {
            return Ok(None);
        }
        let text = self.read(TOKENS_FILE, tokens::FILE_BYTES_MAX)?;
        let wrong = |why| Error(format!("{}, {why}", self.path(TOKENS_FILE).display()));
        Tokens::parse(&text).map(Some).map_err(wrong)
    }

    fn keyset(&self) -> Result<Keyset, Error> {
        let text = self.read(KEYSET_FILE, keyset::JSON_BYTES_MAX)?;
        Keyset::parse(&text).map_err(|why| Error(format!("{}: {why}", self.path(KEYSET_FILE).display())))
    }

    fn cluster_key(&self) -> Result<Zeroizing<[u8; CLUSTER_KEY_BYTES]>, Error> {
        let text = self.read(CLUSTER_FILE, 2 * CLUSTER_KEY_BYTES + 2)?;
        match unhex(text.trim_ascii_end()) {
            Some(key) => Ok(key),
            None => error(&self.path(CLUSTER_FILE), "is not 64 hexadecimal digits"),
        }
    }
}

fn hex_line(key: &Zeroizing<[u8; CLUSTER_KEY_BYTES]>) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(vec![b'\n'; 2 * CLUSTER_KEY_BYTES + 1]);
    base16ct::lower::encode(&**key, &mut line).expect("two digits for each byte");
    line
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; CLUSTER_KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; CLUSTER_KEY_BYTES]);
    let decoded = base16ct::mixed::decode(text, &mut *key).ok()?;
    (decoded.len() == CLUSTER_KEY_BYTES).then_some(())?;
    Some(key)
}

fn cannot(what: &str, path: &Path, why: impl Into<io::Error>) -> Error {
    Error(format!("cannot {what} {}: {}", path.display(), why.into()))
}

fn error<T>(path: &Path, what: &str) -> Result<T, Error> {
    Err(Error(format!("{} {what}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Barrier;

    use super::*;

    fn temporary() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("secrets");
        (root, dir)
    }

    fn refusal(dir: &Path) -> String {
        load_or_create(dir).err().expect("must be refused").to_string()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn secrets_are_created_once_for_their_owner_alone() {
        let (_root, dir) = temporary();
        let first = load_or_create(&dir).unwrap();
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(names.len(), 2, "nothing temporary is left in {names:?}");
        assert_eq!(mode(&dir), 0o700);
        assert!(names.iter().all(|path| mode(path) == 0o600));
        let second = load_or_create(&dir).unwrap();
        assert!(first.keyset.to_json() == second.keyset.to_json());
        assert_eq!(first.cluster_key, second.cluster_key);
        let line = fs::read_to_string(dir.join(CLUSTER_FILE)).unwrap();
        assert!(line.len() == 65 && line.ends_with('\n'));
        assert!(
            create(&dir)
                .err()
                .expect("exists")
                .to_string()
                .contains("never overwritten")
        );
    }

    #[test]
    fn nodes_that_start_at_once_agree() {
        for _ in 0..20 {
            let (_root, dir) = temporary();
            let start = Barrier::new(8);
            let node = || {
                start.wait();
                let secrets = load_or_create(&dir).unwrap();
                (secrets.keyset.to_json(), secrets.cluster_key)
            };
            let all: Vec<_> = std::thread::scope(|scope| {
                let nodes: Vec<_> = (0..8).map(|_| scope.spawn(node)).collect();
                nodes.into_iter().map(|node| node.join().unwrap()).collect()
            });
            assert!(all.iter().all(|secrets| *secrets == all[0]));
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        }
    }

    #[test]
    fn only_what_is_missing_is_created() {
        let (_root, dir) = temporary();
        let first = load_or_create(&dir).unwrap();
        fs::remove_file(dir.join(CLUSTER_FILE)).unwrap();
        let second = load_or_create(&dir).unwrap();
        assert!(first.keyset.to_json() == second.keyset.to_json());
        assert_ne!(first.cluster_key, second.cluster_key);
    }

    #[test]
    fn what_others_can_read_or_change_is_refused_with_the_cure() {
        for name in [KEYSET_FILE, CLUSTER_FILE] {
            for bad in [0o640, 0o604, 0o660, 0o777] {
                let (_root, dir) = temporary();
                load_or_create(&dir).unwrap();
                let path = dir.join(name);
                set_mode(&path, bad);
                let cure = format!("chmod 600 {}", path.display());
                assert!(refusal(&dir).contains(&cure), "{bad:o} passed");
                set_mode(&path, 0o400);
                assert!(load_or_create(&dir).is_ok());
            }
        }
        let (_root, dir) = temporary();
        load_or_create(&dir).unwrap();
        set_mode(&dir, 0o770);
        assert!(refusal(&dir).contains(&format!("chmod 700 {}", dir.display())));
    }

    #[test]
    fn hexadecimal_digits_of_either_case_are_read() {
        let (_root, dir) = temporary();
        let key = load_or_create(&dir).unwrap().cluster_key;
        let path = dir.join(CLUSTER_FILE);
        let line = fs::read_to_string(&path).unwrap();
        let digits: Vec<String> = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(line, format!("{}\n", digits.concat()));
        for text in [
            line.to_uppercase(),
            line.trim_end().to_owned(),
            format!("{}\r\n", line.trim_end()),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(load_or_create(&dir).unwrap().cluster_key, key);
        }
    }

    #[test]
    fn garbage_is_refused_and_left_as_it_is() {
        let line = "a".repeat(64);
        for (name, garbage, reason) in [
            (KEYSET_FILE, "", "not a Tink JSON keyset"),
            (KEYSET_FILE, "{}", "not a Tink JSON keyset"),
            (
                KEYSET_FILE,
                &" ".repeat(keyset::JSON_BYTES_MAX + 1),
                "is longer than",
            ),
            (CLUSTER_FILE, "", "is not 64 hexadecimal digits"),
            (CLUSTER_FILE, &line[1..], "is not 64 hexadecimal digits"),
            (CLUSTER_FILE, &line[2..], "is not 64 hexadecimal digits"),
            (CLUSTER_FILE, &format!("{line}aa"), "is not 64 hexadecimal digits"),
            (
                CLUSTER_FILE,
                &line.replace('a', "+"),
                "is not 64 hexadecimal digits",
            ),
            (CLUSTER_FILE, &format!("{line}aaa"), "is longer than"),
        ] {
            let (_root, dir) = temporary();
            load_or_create(&dir).unwrap();
            let path = dir.join(name);
            fs::write(&path, garbage).unwrap();
            let told = refusal(&dir);
            assert!(told.contains(reason) && told.contains(name), "{told}");
            assert_eq!(fs::read_to_string(&path).unwrap(), garbage);
        }
    }

    #[test]
    fn only_plain_files_are_read() {
        for name in [KEYSET_FILE, CLUSTER_FILE] {
            let (root, dir) = temporary();
            load_or_create(&dir).unwrap();
            let path = dir.join(name);
            let elsewhere = root.path().join("elsewhere");
            fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            assert!(refusal(&dir).contains("symbolic link"));
            fs::remove_file(&elsewhere).unwrap();
            assert!(
                refusal(&dir).contains("symbolic link"),
                "nothing is created through a link"
            );
            assert!(!elsewhere.exists());
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            assert!(refusal(&dir).contains("not a plain file"));
            fs::remove_dir(&path).unwrap();
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            assert!(refusal(&dir).contains("not a plain file"));
        }
        let (root, dir) = temporary();
        fs::write(root.path().join("secrets"), "").unwrap();
        assert!(refusal(&dir).contains("secrets"));
    }

    #[test]
    fn keys_that_are_added_at_once_are_all_there() {
        let (_root, dir) = temporary();
        load_or_create(&dir).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| update_keyset(&dir, |keyset| keyset.add(&random().unwrap())).unwrap());
            }
        });
        assert_eq!(load_keyset(&dir).unwrap().list().count(), 9);
        assert_eq!(mode(&dir.join(KEYSET_FILE)), 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    }
}
