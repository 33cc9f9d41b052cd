//! Before the run: is there room for it? If not, the answer says what is missing and what to do about it.
//!
//! Pure: the resources of the machine come in as [`Machine`].

use pixseal::client::upload::PIECE_BYTES;

use crate::config::{RunConfig, SourceKind};
use crate::machine::Machine;
use crate::report::units::bytes;

/// Memory for code, histograms and stacks, besides images.
const BASE_BYTES: u64 = 64 << 20;
/// Files that the process has open besides its connections.
const BASE_FILES: u64 = 64;
/// One part in so many of what is needed should be free on top of it.
const SLACK_SHARE: u64 = 10;
/// The largest body that a node accepts without `--body-max`, in bytes.
const BODY_BYTES_DEFAULT: u64 = 64 << 20;

pub(crate) struct Findings {
    pub(crate) source: SourceKind,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// Why the run is impossible with these options.
    pub(crate) obstacles: Vec<String>,
}

/// Checks a run that needs `images_bytes` for all its images.
pub(crate) fn check(config: &RunConfig, machine: &Machine, images_bytes: u64) -> Findings {
    let mut findings = Findings {
        source: SourceKind::Disk,
        notes: Vec::new(),
        obstacles: Vec::new(),
    };
    findings.source = choose_source(config, machine, images_bytes, &mut findings);
    check_sealed(config, machine, images_bytes, &mut findings);
    check_memory(config, machine, &mut findings);
    let files = BASE_FILES + (config.concurrency as u64 + 2) * (config.members.count() as u64 + 1);
    if machine.files.is_some_and(|allowed| allowed < files) {
        findings.obstacles.push(format!(
            "{files} open files are needed: raise the limit (ulimit -n {files}) or use a lower --concurrency"
        ));
    }
    if config.plan.bytes_max() > BODY_BYTES_DEFAULT {
        findings.notes.push(format!(
            "images of {} px have {}; nodes take at most {} unless started with --body-max",
            config.plan.side_max,
            bytes(config.plan.bytes_max() as f64),
            bytes(BODY_BYTES_DEFAULT as f64)
        ));
    }
    findings
}

/// Chooses the disk if it also has room for what the nodes write to it.
fn choose_source(
    config: &RunConfig,
    machine: &Machine,
    images_bytes: u64,
    findings: &mut Findings,
) -> SourceKind {
    let sealed_beside = machine.nodes_are_local && (machine.same_disk || config.spawn.is_some());
    let needed = with_slack(if sealed_beside {
        2 * images_bytes
    } else {
        images_bytes
    });
    let room = needed <= machine.temporary_free;
    match config.source {
        Some(SourceKind::Disk) if !room => {
            let free = machine.temporary_free;
            let missing = short_of(
                "disk in the temporary folder",
                needed,
                free,
                config,
                "--source memory, ",
            );
            findings.obstacles.push(missing);
            SourceKind::Disk
        }
        Some(source) => source,
        None if room => SourceKind::Disk,
        None => {
            findings.notes.push(format!(
                "the temporary folder has {} free, generated images would need {}: they are painted in memory instead",
                bytes(machine.temporary_free as f64),
                bytes(needed as f64)
            ));
            SourceKind::Memory
        }
    }
}

/// Checks the room for what local nodes write. Spawned nodes write into the temporary folder. Where other nodes write is
/// not certain, so for them it is only a note.
fn check_sealed(config: &RunConfig, machine: &Machine, images_bytes: u64, findings: &mut Findings) {
    if !machine.nodes_are_local || !findings.obstacles.is_empty() {
        return;
    }
    let spawned = config.spawn.is_some();
    let beside = findings.source == SourceKind::Disk && (machine.same_disk || spawned);
    let needed = with_slack(if beside { 2 * images_bytes } else { images_bytes });
    let free = if spawned {
        machine.temporary_free
    } else {
        machine.here_free
    };
    if needed > free {
        let missing = short_of("disk for sealed images", needed, free, config, "");
        if spawned {
            &mut findings.obstacles
        } else {
            &mut findings.notes
        }
        .push(missing);
    }
}

fn check_memory(config: &RunConfig, machine: &Machine, findings: &mut Findings) {
    let buffers = match findings.source {
        SourceKind::Memory => config.plan.bytes_max(),
        SourceKind::Disk => PIECE_BYTES as u64,
    };
    let needed = BASE_BYTES + buffers * config.concurrency as u64;
    if let Some(available) = machine.memory.filter(|available| *available < needed) {
        findings.obstacles.push(format!(
            "{} of memory are needed, {} are available: use a lower --concurrency, --source disk, or a smaller --max-size",
            bytes(needed as f64),
            bytes(available as f64)
        ));
    }
}

fn with_slack(bytes: u64) -> u64 {
    bytes + bytes / SLACK_SHARE
}

fn short_of(what: &str, needed: u64, free: u64, config: &RunConfig, also: &str) -> String {
    let fits = u128::from(config.images) * u128::from(free) / u128::from(needed.max(1));
    format!(
        "{} of {what} are needed, {} are free: use {also}-n {}, or a smaller --max-size",
        bytes(needed as f64),
        bytes(free as f64),
        fits.max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Mode;

    fn config(arguments: &[&str]) -> RunConfig {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        match Mode::parse(&arguments).unwrap() {
            Mode::Run(config) => *config,
            _ => panic!("not a run"),
        }
    }

    const GB: u64 = 1_000_000_000;

    fn machine() -> Machine {
        Machine {
            temporary_free: 100 * GB,
            here_free: 100 * GB,
            same_disk: true,
            nodes_are_local: true,
            memory: Some(8 * GB),
            files: Some(1024),
        }
    }

    #[test]
    fn with_room_images_go_to_disk() {
        let found = check(&config(&[]), &machine(), 11 * GB);
        assert!(found.source == SourceKind::Disk && found.obstacles.is_empty() && found.notes.is_empty());
    }

    #[test]
    fn without_room_they_stay_in_memory() {
        let found = check(
            &config(&[]),
            &Machine {
                temporary_free: 20 * GB,
                ..machine()
            },
            11 * GB,
        );
        assert!(found.source == SourceKind::Memory && found.obstacles.is_empty());
        assert!(found.notes[0].contains("painted in memory"), "{:?}", found.notes);
    }

    #[test]
    fn what_is_missing_is_said_with_a_way_to_go_on() {
        let small = Machine {
            temporary_free: 11 * GB,
            ..machine()
        };
        let found = check(&config(&["--source", "disk"]), &small, 11 * GB);
        assert!(
            found.obstacles[0].contains("--source memory, -n 909"),
            "{:?}",
            found.obstacles
        );
        let poor = Machine {
            memory: Some(GB / 10),
            ..machine()
        };
        assert!(check(&config(&["--source", "memory"]), &poor, GB).obstacles[0].contains("--concurrency"));
        let few = Machine {
            files: Some(64),
            ..machine()
        };
        assert!(check(&config(&[]), &few, GB).obstacles[0].contains("ulimit -n"));
        let notes = check(&config(&["--max-size", "8000"]), &machine(), GB).notes;
        assert!(notes[0].contains("--body-max"), "{notes:?}");
    }
}
