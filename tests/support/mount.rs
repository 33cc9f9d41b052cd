//! Small disks that a test can fill, break and take away, where it has the right to mount them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that is mounted until this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Needs the right to.
    pub fn new(options: &[&str], what: impl AsRef<OsStr>, folder: &Path) -> Option<Mounted> {
        let mut command = Command::new("mount");
        let mounted = command.args(options).arg(what).arg(folder).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Mounted(folder.to_owned()))
    }

    /// A small file system, to be filled, in a new folder.
    pub fn small_disk(folder: &Path) -> Option<Mounted> {
        fs::create_dir(folder).unwrap();
        Mounted::new(&["-t", "tmpfs", "-o", "size=1m,mode=0700"], "none", folder)
    }

    /// A small ext4, which can be made to fail.
    pub fn ext4(file: &Path, folder: &Path) -> Option<Mounted> {
        fs::create_dir(folder).unwrap();
        fs::File::create(file).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(file).status();
        made.is_ok_and(|status| status.success())
            .then(|| Mounted::new(&["-o", "loop,errors=remount-ro"], file, folder))?
    }

    /// Leaves no byte on it.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[0; 1000]).is_ok() {}
    }

    /// Takes away what [`Mounted::fill`] has put there.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// As when the file system has found an error in itself: from now on it can only be read.
    pub fn abort(&self) {
        let mut command = Command::new("mount");
        let aborted = command.args(["-o", "remount,abort"]).arg(&self.0).status();
        assert!(aborted.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Past libtest, which keeps what passing tests print to itself.
pub fn say_skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} needs {why}");
}
