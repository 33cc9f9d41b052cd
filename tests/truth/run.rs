//! One run: rounds of load under faults, each followed by calm and judged.
//!
//! What clients never learned the outcome of has happened by the end of the calm, or never will: a round begins with
//! what its names are known to hold, and its histories stay short.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::availability::Availability;
use crate::calm::await_calm;
use crate::disturbance::disturb;
use crate::ledger::Ledger;
use crate::load::{self, World};
use crate::probe::probe;
use crate::report::{Report, judge_all};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::support::cluster::{Layout, TestCluster};
use crate::support::random::Random;
use crate::uploads;
use crate::weather::Weather;

const ROUND: Duration = Duration::from_secs(60);
const UPLOADERS: u64 = 2;
/// Names of each user; the last is the probe's.
const USERS: [&str; 3] = ["alice", "bob", "probe"];
/// Apart, so that the probe has as few names as the rule on refusals needs to be seen broken.
const PROBED: usize = 6;

/// Lowered on every way out, so that no thread waits for a round that ended in a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs it all.
pub(crate) fn run(settings: &Settings) -> Report {
    let mut cluster = start(settings);
    let world = World {
        members: cluster.members(),
        addresses: cluster.nodes.iter().map(|node| node.address).collect(),
        ledger: Ledger::new(&USERS[..2], settings.names, (USERS[2], PROBED)),
        weather: Weather::new(settings.nodes),
        availability: Availability::new(settings.down <= 1),
        conditions: settings.conditions,
        load_names: 2 * settings.names,
    };
    let folders: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.images()).collect();
    let mut schedule = Schedule::new(settings.seed, settings.nodes);
    let mut report = Report::default();
    let mut left = settings.length;
    for number in 0.. {
        let round = left.min(ROUND);
        left -= round;
        let seed = settings.seed ^ (number << 32);
        load_and_disturb(
            &world,
            &mut cluster,
            &mut schedule,
            (settings, seed),
            &folders,
            round,
            &report.uploads,
        );
        let calm = await_calm(&world, &folders, settings.calm);
        judge_all(&world, &mut report);
        report.calms.push(calm.took);
        report
            .wrong
            .extend(calm.wrong.iter().map(|wrong| format!("round {number}: {wrong}")));
        for (name, content) in calm.contents.iter().enumerate() {
            world.ledger.page(name).begin_history(*content);
        }
        eprintln!("{}", report.so_far(number));
        if left.is_zero() {
            break;
        }
    }
    report.finish(&world);
    report
}

fn start(settings: &Settings) -> TestCluster {
    let layout = Layout {
        one_folder: settings.shared,
        ..Layout::default()
    };
    let mut cluster = TestCluster::lay_out(settings.nodes, layout);
    cluster.start_all();
    cluster
}

fn load_and_disturb(
    world: &World,
    cluster: &mut TestCluster,
    schedule: &mut Schedule,
    (settings, seed): (&Settings, u64),
    folders: &[PathBuf],
    length: Duration,
    count: &uploads::Count,
) {
    let over = AtomicBool::new(false);
    let until = Instant::now() + length;
    let mut seeds = Random::new(seed);
    thread::scope(|scope| {
        let _end = End(&over);
        for _ in 0..settings.clients {
            let random = Random::new(seeds.number());
            scope.spawn(|| load::client(world, random, &over));
        }
        for _ in 0..UPLOADERS {
            let random = Random::new(seeds.number());
            scope.spawn(|| uploads::client(world, random, count, &over));
        }
        let random = Random::new(seeds.number());
        scope.spawn(|| probe(world, random, folders, &over));
        disturb(cluster, schedule, settings.down, world, until);
    });
}
