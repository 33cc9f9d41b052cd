//! The resources of this machine: disk, memory, files.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: it looks at disks and resolves names"
)]

use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pixseal::members::Members;

use crate::usage::{files_max, memory_available};

/// What is free.
pub(crate) struct Machine {
    /// Free in the temporary folder, in bytes.
    pub(crate) temporary_free: u64,
    /// Free where this program runs, in bytes: nodes on this machine usually keep their images there.
    pub(crate) here_free: u64,
    /// Whether the two are the same file system.
    pub(crate) same_disk: bool,
    /// Whether nodes run on this machine.
    pub(crate) nodes_are_local: bool,
    /// Available memory in bytes, if known.
    pub(crate) memory: Option<u64>,
    /// Files that may be open, if that is limited.
    pub(crate) files: Option<u64>,
}

impl Machine {
    /// This machine, now, for a cluster of `members`.
    pub(crate) fn look(members: &Members) -> Result<Machine, String> {
        let temporary = std::env::temp_dir();
        let free = |path: &Path| {
            rustix::fs::statvfs(path)
                .map(|disk| disk.f_bavail * disk.f_frsize)
                .map_err(|e| format!("{}: {e}", path.display()))
        };
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let here = Path::new(".");
        Ok(Machine {
            temporary_free: free(&temporary)?,
            here_free: free(here)?,
            same_disk: device(&temporary) == device(here),
            nodes_are_local: are_local(members),
            memory: memory_available(),
            files: files_max(),
        })
    }
}

/// Whether nodes run on this machine.
pub(crate) fn are_local(members: &Members) -> bool {
    let is_loopback = |address: &str| {
        address.to_socket_addrs().is_ok_and(|mut all| {
            all.any(|address| match address.ip() {
                IpAddr::V4(ip) => ip.is_loopback(),
                IpAddr::V6(ip) => ip.is_loopback(),
            })
        })
    };
    members.iter().any(|(_, address)| is_loopback(address))
}
