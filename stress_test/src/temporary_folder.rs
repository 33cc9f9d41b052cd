//! A folder that goes away with the value: at the end of the run, on Ctrl-C, and when a thread panics.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: files and clocks"
)]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A folder that removes itself with everything in it, unless it is to be kept.
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    keep: bool,
}

impl TemporaryFolder {
    /// Makes a new folder under the system's temporary one, for this user alone.
    pub(crate) fn new(purpose: &str, keep: bool) -> io::Result<TemporaryFolder> {
        let stamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let path = std::env::temp_dir().join(format!("pixseal-{purpose}-{}-{stamp}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(TemporaryFolder { path, keep })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(e) = fs::remove_dir_all(&self.path)
        {
            eprintln!("stress_test: {} could not be removed: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
