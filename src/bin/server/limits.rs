//! What the system allows this process, and what follows from it.

use std::sync::Arc;

use pixseal::seal;
use pixseal::server::config::Config;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::SIGXFSZ;

/// Connections and files share the descriptors of a process, and the usual soft limit of 1,024 is a tradition.
pub(super) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the node works with fewer connections, and says so when they run out.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A core dump would hold keys and images, and so would what another process of this user reads from this one's memory.
pub(super) fn keep_memory_private() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    if let Err(e) = limited.and(set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        log::warn!("core dumps of this process cannot be turned off: {e}");
    }
}

/// A write beyond `ulimit -f` ends a process, unless it handles the signal: then the write fails, and one upload with it.
/// Images that could not be stored are refused before they are sent: returns a sentence if that lowers the limit.
pub(super) fn heed_file_size_limit(config: &mut Config) -> Result<Option<String>, String> {
    let registered = signal_hook::flag::register(SIGXFSZ, Arc::default());
    registered.map_err(|e| format!("cannot handle signals: {e}"))?;
    let Some(file_bytes_max) = getrlimit(Resource::Fsize).current else {
        return Ok(None);
    };
    let wanted = config.limits.body_bytes_max;
    let possible = seal::plain_bytes_within(file_bytes_max);
    config.limits.body_bytes_max = wanted.min(possible);
    Ok((possible < wanted).then(|| {
        format!(
            "this process may write files of at most {file_bytes_max} bytes (ulimit -f): the longest image is {possible} \
             bytes instead of {wanted} (--body-max); raise that limit to take longer ones"
        )
    }))
}
