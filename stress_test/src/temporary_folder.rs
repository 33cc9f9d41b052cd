//! A folder that is removed with the value: at the end of the run, on Ctrl-C, and when a thread panics.

#![allow(clippy::disallowed_methods, reason = "an edge: it makes and removes folders")]

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// Removes its folder with everything in it, unless `--keep` was given.
pub(crate) struct TemporaryFolder {
    folder: TempDir,
    keep: bool,
}

impl TemporaryFolder {
    /// Makes a new folder under the system's temporary one, for this user alone.
    pub(crate) fn new(purpose: &str, keep: bool) -> io::Result<TemporaryFolder> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("pixseal-{purpose}-"))
            .permissions(Permissions::from_mode(0o700))
            .disable_cleanup(keep)
            .tempdir()?;
        Ok(TemporaryFolder { folder, keep })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TemporaryFolder {
    /// Says so when the folder cannot be removed, which `TempDir` does not.
    fn drop(&mut self) {
        if !self.keep
            && let Err(e) = fs::remove_dir_all(self.path())
        {
            eprintln!("stress_test: {} could not be removed: {e}", self.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_folder_goes_away_when_its_thread_panics() {
        let path = std::sync::Mutex::new(PathBuf::new());
        let outcome = std::panic::catch_unwind(|| {
            let folder = TemporaryFolder::new("panic", false).unwrap();
            *path.lock().unwrap() = folder.path().to_owned();
            panic!("on purpose");
        });
        assert!(outcome.is_err());
        assert!(!path.lock().unwrap_or_else(|e| e.into_inner()).exists());
    }
}
