//! One run from beginning to end: look, generate, upload, read back, judge.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: it owns the threads and the clock of a run"
)]

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pixseal::client::error::{Error, ErrorKind};
use pixseal::report::Status;
use pixseal::standard_output::{print, say};

use crate::acknowledged::{Acknowledged, Acknowledgements};
use crate::config::{AUDIENCES, RunConfig, SOURCES, SourceKind, VERIFICATIONS};
use crate::image_source::ImageSource;
use crate::judgement;
use crate::load::Load;
use crate::machine::{Machine, are_local};
use crate::option_value::name_of;
use crate::output_file;
use crate::preflight;
use crate::progress_display::{ProgressDisplay, is_live};
use crate::report::colours::Colours;
use crate::report::text::text;
use crate::report::units::bytes;
use crate::spawned_cluster::SpawnedCluster;
use crate::stop_signal::{RaiseOnDrop, RunEnd, StopSignal};
use crate::summary::{self, SCHEMA, Summary};
use crate::tally::Tally;
use crate::temporary_folder::TemporaryFolder;
use crate::upload_log::UploadLog;
use crate::upload_phase::upload;
use crate::usage::ProcessUsage;
use crate::verify;
use crate::watch::{PATIENCE, Watch};

/// How often the views are refreshed when nothing happens.
const REFRESH: Duration = Duration::from_millis(50);
/// How long a cluster that is up may take to find a leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);

/// What every part of a run works with.
struct Run<'a> {
    config: &'a RunConfig,
    stop: &'a StopSignal,
    deadline: Instant,
    live: bool,
}

/// Runs and returns the exit code; an error is something that kept the run from beginning.
pub fn run(mut config: RunConfig, stop: &StopSignal) -> Result<u8, String> {
    let deadline = Instant::now() + config.timeout;
    let cluster = config
        .spawn
        .map(|count| SpawnedCluster::start(count, config.keep))
        .transpose()?;
    if let Some(cluster) = &cluster {
        config.members = cluster.members.clone();
        say(format_args!(
            "started {} nodes in {}",
            config.members.count(),
            cluster.folder().display()
        ))?;
    }
    await_leader(&config, stop)?;
    let source = choose_source(&config)?;
    confirm(&config, source)?;
    let mut upload_log = UploadLog::open(&config).map_err(|e| e.to_string())?;
    let run = Run {
        config: &config,
        stop,
        deadline,
        live: is_live(config.plain),
    };
    let mut summary = begin(&config, source);
    let images = run.generate(source, &mut summary.phases)?;
    let outcome = run.perform(&images, cluster.as_ref(), &mut upload_log, &mut summary);
    upload_log.close().map_err(|e| e.to_string())?;
    outcome?;
    summary.verdict = judgement::judge(&summary, stop.end(), &config.thresholds);
    let printed = print(text(&summary, colours(&config)));
    output_file::write_all(&config, &summary)?;
    printed?;
    // Only now are servers stopped and files removed: with many small files that takes longer than the run.
    Ok(summary.verdict.exit_code())
}

fn colours(config: &RunConfig) -> Colours {
    match !config.plain && std::env::var_os("NO_COLOR").is_none() && io::stdout().is_terminal() {
        true => Colours::On,
        false => Colours::Off,
    }
}

/// What to do about a node that does not tell who leads.
fn remedy(refused: &Error, config: &RunConfig) -> String {
    match refused.kind {
        ErrorKind::Untrusted => "\ncompare --ca with the certificates of the nodes (docs/tls.md)".to_owned(),
        _ => format!(
            "\nset PIXSEAL_TOKEN, or --token-file, to a token made with: seal token add {} --rights \
             read,write,delete,list,admin",
            config.user
        ),
    }
}

/// Asks every node who leads; says which do not answer. Waits a little for a cluster that was just started.
fn await_leader(config: &RunConfig, stop: &StopSignal) -> Result<(), String> {
    let members = &config.members;
    let mut client = config.client(PATIENCE);
    let deadline = Instant::now() + LEADER_PATIENCE;
    loop {
        let told: Vec<_> = members
            .iter()
            .map(|(id, address)| (id, address, client.status(id)))
            .collect();
        let up: Vec<&Status> = told
            .iter()
            .filter_map(|(_, _, status)| status.as_ref().ok())
            .collect();
        let refused = told.iter().find_map(|(_, _, status)| match status {
            Err(error) if matches!(error.kind, ErrorKind::Refused | ErrorKind::Untrusted) => Some(error),
            Ok(_) | Err(_) => None,
        });
        if let Some(refused) = refused {
            return Err(format!("{refused}{}", remedy(refused, config)));
        }
        if up.is_empty() {
            let addresses: Vec<&str> = members.iter().map(|(_, address)| address).collect();
            return Err(format!(
                "no cluster is up at {}\nstart one with: make cluster\nor let this program start one: --spawn 3",
                addresses.join(", ")
            ));
        }
        if up.iter().any(|status| status.leader.is_some()) || Instant::now() >= deadline || stop.is_raised() {
            // Only admins are told more than where the nodes are.
            if up.iter().any(|status| status.version.is_empty()) {
                say(format_args!(
                    "note: the token has no admin right, so what the nodes say of themselves is missing in the report"
                ))?;
            }
            for (id, address, status) in &told {
                if let Err(failure) = status {
                    say(format_args!("node {id} ({address}) does not answer: {failure}"))?;
                }
            }
            return Ok(());
        }
        thread::sleep(REFRESH);
    }
}

/// Checks the machine; an obstacle ends the run before it begins.
fn choose_source(config: &RunConfig) -> Result<SourceKind, String> {
    let machine = Machine::look(&config.members)?;
    let found = preflight::check(config, &machine, config.plan.bytes_total(config.images));
    for note in &found.notes {
        say(format_args!("note: {note}"))?;
    }
    match found.obstacles.is_empty() {
        true => Ok(found.source),
        false => Err(found.obstacles.join("\n")),
    }
}

fn confirm(config: &RunConfig, source: SourceKind) -> Result<(), String> {
    let total = bytes(config.plan.bytes_total(config.images) as f64);
    say(format_args!(
        "{} images of {} to {} px, {total}, seed {}; {} nodes, {} uploads at a time; images {}",
        config.images,
        config.plan.side_min,
        config.plan.side_max,
        config.plan.seed,
        config.members.count(),
        config.concurrency,
        match source {
            SourceKind::Disk => "are generated to disk first",
            SourceKind::Memory => "are painted before each upload",
        }
    ))?;
    if !config.yes && io::stdin().is_terminal() && io::stdout().is_terminal() {
        print("Press ENTER to start ")?;
        io::stdin()
            .lock()
            .read_line(&mut String::new())
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn begin(config: &RunConfig, source: SourceKind) -> Summary {
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Summary {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix: started.as_secs(),
        settings: summary::RunSettings {
            images: config.images,
            side_min: config.plan.side_min,
            side_max: config.plan.side_max,
            seed: config.plan.seed,
            concurrency: config.concurrency,
            user: config.user.clone(),
            offer: name_of(&AUDIENCES, config.audience),
            source: name_of(&SOURCES, source),
            rate: config.rate,
            verify: name_of(&VERIFICATIONS, config.verify),
            timeout_seconds: config.timeout.as_secs(),
            cluster: config
                .members
                .iter()
                .map(|(id, address)| (id.0, address.to_owned()))
                .collect::<BTreeMap<_, _>>(),
            spawned: config.spawn.is_some(),
        },
        ..Summary::default()
    }
}

impl Run<'_> {
    /// Has the images ready: on disk, or to be painted when they are needed.
    fn generate(&self, source: SourceKind, phases: &mut summary::Phases) -> Result<ImageSource, String> {
        let Run {
            config,
            stop,
            deadline,
            live,
        } = *self;
        if source == SourceKind::Memory {
            return Ok(ImageSource::in_memory(config.plan));
        }
        let start = Instant::now();
        let folder =
            TemporaryFolder::new("images", config.keep).map_err(|e| format!("temporary folder: {e}"))?;
        if config.keep {
            say(format_args!(
                "generated images stay in {}",
                folder.path().display()
            ))?;
        }
        let painted = AtomicU64::new(0);
        let mut progress = ProgressDisplay::new("Generating", config.images, 0, live);
        let images = thread::scope(|scope| {
            let painter =
                scope.spawn(|| ImageSource::on_disk(config.plan, config.images, folder, &painted, stop));
            while !painter.is_finished() {
                if Instant::now() >= deadline {
                    stop.raise(RunEnd::TimedOut);
                }
                progress.count(painted.load(Ordering::Relaxed));
                thread::sleep(REFRESH);
            }
            painter
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        progress.finish();
        phases.generate_seconds = start.elapsed().as_secs_f64();
        images.map_err(|e| {
            format!(
                "generating images: {e}\nfree some disk, or use --source memory, a smaller -n or --max-size"
            )
        })
    }

    /// Uploads, drills and reads back; fills in everything of the summary but the verdict.
    fn perform(
        &self,
        images: &ImageSource,
        cluster: Option<&SpawnedCluster>,
        upload_log: &mut UploadLog,
        summary: &mut Summary,
    ) -> Result<(), String> {
        let Run {
            config,
            stop,
            deadline,
            live,
        } = *self;
        let (watch, done) = (Watch::default(), StopSignal::default());
        let acknowledged: Vec<OnceLock<Acknowledged>> = (0..config.images).map(|_| OnceLock::new()).collect();
        let mut tally = Tally::new(&config.user, config.members.iter().map(|(id, _)| id));
        thread::scope(|scope| {
            let _done = RaiseOnDrop(&done);
            watch
                .start(scope, config, &done)
                .map_err(|e| format!("a thread could not be started: {e}"))?;
            let load = Load::new(config, images, &watch, stop, deadline, &acknowledged);
            let before = ProcessUsage::now();
            summary.drills = upload(&load, cluster, upload_log, &mut tally, live)?;
            let used = ProcessUsage::now().cpu_seconds - before.cpu_seconds;
            tally.report(&config.plan, &watch.membership(load.origin), summary);
            if let Some(cluster) = cluster
                && !config.drill.is_empty()
            {
                cluster.recover()?;
            }
            self.read_back(&acknowledged, summary)?;
            summary.events = watch.events(load.origin);
            summary.resources = resources(config, used, summary.phases.upload_seconds, &watch);
            Ok(())
        })
    }

    /// Reads back what was stored.
    fn read_back(&self, acknowledged: &Acknowledgements, summary: &mut Summary) -> Result<(), String> {
        let Run {
            config,
            stop,
            deadline,
            live,
        } = *self;
        let start = Instant::now();
        let checked = AtomicU64::new(0);
        let mut progress = ProgressDisplay::new("Verifying", verify::expected(config, acknowledged), 0, live);
        summary.verification = thread::scope(|scope| {
            let reader = scope.spawn(|| verify::read_back(config, acknowledged, stop, deadline, &checked));
            while !reader.is_finished() {
                progress.count(checked.load(Ordering::Relaxed));
                thread::sleep(REFRESH);
            }
            reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .map_err(|e| format!("a thread could not be started: {e}"))?;
        progress.finish();
        summary.phases.verify_seconds = start.elapsed().as_secs_f64();
        Ok(())
    }
}

fn resources(config: &RunConfig, cpu_seconds: f64, seconds: f64, watch: &Watch) -> summary::Resources {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    summary::Resources {
        cores,
        client_cpu_seconds: cpu_seconds,
        client_cpu_percent: 100.0 * cpu_seconds / (seconds * cores as f64).max(0.001),
        client_rss_bytes_max: ProcessUsage::now().rss_bytes_max,
        shares_machine: are_local(&config.members),
        servers: watch.servers(),
    }
}
