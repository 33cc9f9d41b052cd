//! `make bench-system`: the cluster as users run it, against the bare pipeline and nginx, in one run on one set of
//! images. Prints medians, ranges and ratios. Everything it writes lies in a folder of its own, removed at the end.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that times processes, sockets and files"
)]
#![allow(unreachable_pub, reason = "a program: pub is for its other rooms")]

mod bare;
#[cfg(feature = "tls")]
mod bare_tls;
mod images;
mod load;
mod offers;
mod rounds;
mod sections;
mod servers;
mod standing;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use getopts::Options;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use signal_hook::consts::{SIGINT, SIGTERM};

use bare::Pipeline;
use rounds::Bench;

const USAGE: &str = "\
Usage: make bench-system ARGS=\"[options] [section …]\"

Sections:
    mix           200 images of the stress test against everything (default)
    single        16 MB images over one connection
    small         40 kB images
    tokens        the mix and 40 kB images, with tokens and without
    tls           the mix over TLS, and nginx; needs a build with --features tls
    download      the mix, read back and verified
    sizes         0.04 to 64 MB
    connections   1 to 64
    nodes         1, 3, 9
    uploads       200 to 20,000 small ones
    offers        how many a second are turned away
    memory        64 uploads of 16 MB at once
    idle          what nodes cost that have nothing to do
    all           each of them

Options:
    --rounds N          how often each is measured (default 5)
    --settle SECONDS    from deleting old files to measuring (default 6)
    --only TEXT         of tables, the rows with TEXT in their names
    --against SERVER    in mix, single and small, also the server of another build, uploaded to by this build's client
    --dir DIR           where the images lie, about 3 GB (default: beside the build)
    --help              print this
";

type Section = fn(&Bench) -> Result<(), String>;
const SECTIONS: [(&str, Section); 13] = [
    ("mix", sections::mix),
    ("single", sections::single),
    ("small", sections::small),
    ("tokens", sections::tokens),
    ("tls", sections::tls),
    ("download", sections::download),
    ("sizes", sections::sizes),
    ("connections", sections::connections),
    ("nodes", sections::nodes),
    ("uploads", sections::uploads),
    ("offers", standing::offers),
    ("memory", standing::memory),
    ("idle", standing::idle),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &args[..] {
        [flag, sealing, write, transport, folder] if flag == "--bare" => {
            serve_bare([sealing, write, transport], Path::new(folder))
        }
        // `cargo bench` says --bench; without it `cargo test --all-targets` only wants to know that this starts.
        _ if !args.iter().any(|arg| arg == "--bench") => Ok(()),
        _ => run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-system: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve_bare([sealing, write, transport]: [&str; 3], folder: &Path) -> Result<(), String> {
    let pipeline = Pipeline::parse(sealing, write, transport);
    bare::serve(
        pipeline.ok_or("--bare is for this program itself: it starts its servers with it")?,
        folder,
    )
}

fn run(args: &[String]) -> Result<(), String> {
    let mut options = Options::new();
    options.optflag("", "bench", "").optflag("h", "help", "");
    options
        .optopt("", "rounds", "", "")
        .optopt("", "settle", "", "")
        .optopt("", "dir", "", "")
        .optopt("", "against", "", "")
        .optopt("", "only", "", "");
    let matches = options.parse(args).map_err(|e| e.to_string())?;
    if matches.opt_present("help") {
        print!("{USAGE}");
        return Ok(());
    }
    let number = |name: &str, default: u32| match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| format!("--{name} takes a whole number, not {text:?}")),
    };
    let sections = chosen(&matches.free)?;
    let parent = matches
        .opt_str("dir")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::Builder::new()
        .prefix("bench-system-")
        .tempdir_in(&parent)
        .map_err(|e| format!("{}: {e}", parent.display()))?;
    scatter(folder.path());
    let bench = Bench {
        images: folder.path().join("painted"),
        folder: folder.path().to_owned(),
        rounds: number("rounds", 5)?.max(1) as usize,
        settle: Duration::from_secs(number("settle", 6)?.into()),
        against: matches
            .opt_str("against")
            .as_deref()
            .map(other_server)
            .transpose()?,
        only: matches.opt_str("only").unwrap_or_default(),
        stop: stop_on_signals()?,
    };
    sections.into_iter().try_for_each(|section| section(&bench))
}

fn other_server(path: &str) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|e| format!("--against {path}: {e}"))
}

/// Asks ext4 to put every folder made in `parent` somewhere else. Without a journal it does not use an inode again for
/// minutes after it was deleted, and searches past all of them whenever a file is created (docs/measurements.md). Other
/// file systems do not know the flag and do not need it.
fn scatter(parent: &Path) {
    let set = |folder: std::fs::File| ioctl_setflags(&folder, ioctl_getflags(&folder)? | IFlags::TOPDIR);
    let _ = std::fs::File::open(parent).map(set);
}

fn chosen(names: &[String]) -> Result<Vec<Section>, String> {
    if names.is_empty() {
        return Ok(vec![sections::mix]);
    }
    if names == ["all"] {
        return Ok(SECTIONS.map(|(_, section)| section).to_vec());
    }
    let find = |name: &String| {
        let found = SECTIONS.iter().find(|(known, _)| known == name);
        found
            .map(|(_, section)| *section)
            .ok_or_else(|| format!("there is no section {name:?} (--help)"))
    };
    names.iter().map(find).collect()
}

/// Ended half-way, the run still ends its servers and removes its folder.
fn stop_on_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|e| e.to_string())?;
    }
    Ok(stop)
}
