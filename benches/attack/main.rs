//! `make attack`: many idle, slow and greedy connections, from one, four and 50 addresses, against one node of three, and what
//! a normal client elsewhere notices of them.
//!
//! Another node is paused, so that whoever looks for an image that is not there has the node wait for it. A connection that is cut is opened again, 200 a second, for as long as the
//! attack presses; then it is seen how long the last ones stay. The usual times are measured on the same node just
//! before each attack. Everything happens on loopback addresses of this machine and ends by itself.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a program that times sockets and stops where its node does"
)]
#![allow(unreachable_pub, reason = "a program: pub is for its other rooms")]

mod attackers;
mod line;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use attackers::{Attack, Kind, Plan, Victim};
use rustix::process::Signal;
use support::cluster::{TestCluster, TestNode};
use support::wire::put_head;
use support::{picture, process};

/// How long cut connections are opened again.
const PRESSURE: Duration = Duration::from_secs(20);
/// All connections must be cut this soon after the pressure has ended.
const CUT_WITHIN: Duration = Duration::from_secs(35);
/// Uploads and downloads from which the usual time is taken.
const USUAL_ROUNDS: usize = 25;
/// What a normal client uploads and downloads.
const IMAGE_BYTES: usize = 2_000_000;
/// What slow readers ask for: more than the buffers of both ends hold.
const LARGE_BYTES: usize = 24_000_000;
const SLOWDOWN_MAX: f64 = 2.0;
/// No request of a normal client takes longer.
const LONGEST_MAX: Duration = Duration::from_secs(1);
/// Images that a list of the attackers has.
const LISTED: usize = 2000;
const HEALTH_MAX: Duration = Duration::from_millis(100);
/// What the parts of a node add up to: 24 blocks of 1 MiB, 12 segments of uploads that stall, 64 KiB of each of 640 slow uploads and
/// the stacks of as many workers, 16 lists, and what the node takes by itself.
const RESIDENT_MAX: u64 = 160 << 20;
/// What TLS adds to it: of each of 640 workers' sessions 64 KiB of records that arrived, 18 KiB of one that is not whole and 66 KiB that
/// are not sent.
const SESSIONS_MAX: u64 = 93 << 20;
/// What the kernel may hold for all TCP connections of the machine, both ends of these.
const KERNEL_MAX: u64 = 300_000_000;

/// What a normal client noticed.
#[derive(Default)]
struct Noticed {
    uploads: Vec<Duration>,
    downloads: Vec<Duration>,
    health: Vec<Duration>,
    failures: Vec<String>,
}

impl Noticed {
    /// One upload, one download and two looks at the health, each on a connection of its own.
    fn round(&mut self, node: &TestNode, target: &str, image: &[u8]) {
        let failures = &mut self.failures;
        self.health.extend(timed(failures, "healthz", || look(node)));
        self.uploads
            .extend(timed(failures, "upload", || upload(node, target, image)));
        self.health.extend(timed(failures, "healthz", || look(node)));
        self.downloads
            .extend(timed(failures, "download", || download(node, target, image)));
    }
}

fn timed(
    failures: &mut Vec<String>,
    what: &str,
    work: impl FnOnce() -> Result<(), String>,
) -> Option<Duration> {
    let begun = Instant::now();
    let outcome = work();
    let took = begun.elapsed();
    outcome
        .map(|()| took)
        .map_err(|why| failures.push(format!("{what}: {why}")))
        .ok()
}

fn look(node: &TestNode) -> Result<(), String> {
    expect(200, node.ask("GET", "/healthz").status)
}

fn upload(node: &TestNode, target: &str, image: &[u8]) -> Result<(), String> {
    let mut wire = node.try_connect().map_err(|e| e.to_string())?;
    wire.send(&put_head(
        node.address,
        target,
        image.len(),
        "Expect: 100-continue\r\n",
    ));
    expect(100, wire.answer().map_or(0, |answer| answer.status))?;
    wire.send(image);
    expect(200, wire.answer().map_or(0, |answer| answer.status))
}

fn download(node: &TestNode, target: &str, image: &[u8]) -> Result<(), String> {
    let answer = node.ask("GET", target);
    expect(200, answer.status)?;
    if answer.body == image {
        Ok(())
    } else {
        Err("not what was uploaded".to_owned())
    }
}

fn expect(wanted: u16, status: u16) -> Result<(), String> {
    if status == wanted {
        Ok(())
    } else {
        Err(format!("{status} instead of {wanted}"))
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or(Duration::MAX)
}

fn longest(times: &[Duration]) -> Duration {
    times.iter().max().copied().unwrap_or(Duration::MAX)
}

/// What the kernel holds for TCP connections. It counts in pages of 4 KiB.
fn tcp_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let pages = text.lines().find_map(|line| {
        let (_, rest) = line.strip_prefix("TCP:")?.split_once(" mem ")?;
        rest.trim().parse::<u64>().ok()
    });
    4096 * pages.expect("the kernel says how many pages TCP has")
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The nodes that an attack needs, the first of which is attacked and has an image at each of the two targets.
fn nodes(plan: &Plan, tls: bool) -> (TestCluster, [String; 2]) {
    let waits_for_another = plan.kinds.contains(&Kind::Missing);
    let mut cluster = TestCluster::prepare(1 + u32::from(waits_for_another), &[]);
    if tls {
        speak_tls(&mut cluster);
    }
    cluster.start_all();
    let node = cluster.node(1);
    let targets = ["normal", "large"].map(|user| format!("/images/{user}/{}", cluster.name_on(1, user)));
    for (target, bytes) in targets.iter().zip([IMAGE_BYTES, LARGE_BYTES]) {
        assert_eq!(node.put(target, &picture::sized(bytes)).status, 201);
    }
    if plan.kinds.contains(&Kind::List) {
        for number in 0..LISTED {
            let stored = node.put_through(&format!("/images/crowd/{number}.png"), &picture::dot());
            assert_eq!(stored.status, 201);
        }
    }
    if waits_for_another {
        cluster.node(2).signal(Signal::STOP);
        support::wait_for("the node goes on alone", || {
            (node.state()?["alive"] == serde_json::json!([1])).then_some(())
        });
    }
    (cluster, targets)
}

fn resident_max(tls: bool) -> u64 {
    RESIDENT_MAX + if tls { SESSIONS_MAX } else { 0 }
}

/// Runs one attack, prints its line, and says whether everything held.
fn withstand(name: &str, plan: &Plan, tls: bool) -> bool {
    let (cluster, [normal, large]) = nodes(plan, tls);
    let (node, image) = (cluster.node(1), picture::sized(IMAGE_BYTES));
    let mut usual = Noticed::default();
    for _ in 0..USUAL_ROUNDS {
        usual.round(node, &normal, &image);
    }
    let may_stay = plan.kinds.iter().any(|kind| kind.keeps_the_rules());
    let victim = Victim {
        address: node.address,
        large,
        #[cfg(feature = "tls")]
        tls: node.tls.clone(),
    };
    let attack = Attack::start(victim, plan);
    attack.await_all_open();
    let mut pressed = Noticed::default();
    let (begun, mut resident, mut kernel) = (Instant::now(), 0, 0);
    while begun.elapsed() < PRESSURE {
        pressed.round(node, &normal, &image);
        resident = resident.max(process::resident_bytes(node.pid()).unwrap());
        kernel = kernel.max(tcp_bytes());
    }
    let outcome = attack.finish(if may_stay { Duration::ZERO } else { 2 * CUT_WITHIN });
    resident = resident.max(process::resident_bytes_peak(node.pid()).unwrap());
    let upload = median(&pressed.uploads).as_secs_f64() / median(&usual.uploads).as_secs_f64();
    let worst = longest(&pressed.uploads).as_secs_f64() / median(&usual.uploads).as_secs_f64();
    let download = median(&pressed.downloads).as_secs_f64() / median(&usual.downloads).as_secs_f64();
    let health = longest(&pressed.health);
    let longest_any = longest(&pressed.uploads).max(longest(&pressed.downloads));
    println!(
        "{name:<12} {:>8.1} {:>8.1} {upload:>6.2} {worst:>6.1} {:>8.1} {:>8.1} {download:>6.2} {:>8.1} {:>8.1} {:>6.0} {:>6.0} {:>7} {:>7.1} {:>7.1} {:>6} {:>6}",
        milliseconds(median(&usual.uploads)),
        milliseconds(median(&pressed.uploads)),
        milliseconds(median(&usual.downloads)),
        milliseconds(median(&pressed.downloads)),
        milliseconds(median(&pressed.health)),
        milliseconds(health),
        resident as f64 / f64::from(1 << 20),
        kernel as f64 / 1e6,
        outcome.stays.len(),
        median(&outcome.stays).as_secs_f64(),
        outcome.stays.iter().max().map_or(0.0, Duration::as_secs_f64),
        outcome.left,
        pressed.failures.len(),
    );
    for failure in pressed.failures.iter().take(3) {
        println!("             {failure}");
    }
    upload < SLOWDOWN_MAX
        && longest_any < LONGEST_MAX
        && kernel < KERNEL_MAX
        && download < SLOWDOWN_MAX
        && health < HEALTH_MAX
        && resident < resident_max(tls)
        && (may_stay || outcome.left == 0 && outcome.stays.iter().all(|stay| *stay <= CUT_WITHIN))
        && pressed.failures.is_empty()
}

#[cfg(feature = "tls")]
fn speak_tls(cluster: &mut TestCluster) {
    cluster.speak_tls();
}

#[cfg(not(feature = "tls"))]
fn speak_tls(_: &mut TestCluster) {
    panic!("this bench was built without TLS: cargo bench --features tls");
}

/// All attacks, by their names.
fn attacks() -> Vec<(&'static str, Plan)> {
    const SLOW: &[Kind] = &[Kind::Idle, Kind::SlowHeader, Kind::SlowBody, Kind::SlowRead];
    const STEADY: &[Kind] = &[Kind::SteadyBody, Kind::SteadyRead, Kind::List, Kind::Missing];
    let plan = |kinds, connections, addresses| Plan {
        kinds,
        connections,
        addresses,
    };
    vec![
        ("mixed", plan(SLOW, 1000, 50)),
        ("idle", plan(&[Kind::Idle], 1000, 50)),
        ("slow-header", plan(&[Kind::SlowHeader], 1000, 50)),
        ("slow-body", plan(&[Kind::SlowBody], 1000, 50)),
        ("slow-read", plan(&[Kind::SlowRead], 1000, 50)),
        ("one-idle", plan(&[Kind::Idle], 4000, 1)),
        ("one-slow", plan(SLOW, 4000, 1)),
        ("one-upload", plan(&[Kind::SteadyBody], 4000, 1)),
        ("one-read", plan(&[Kind::SteadyRead], 4000, 1)),
        ("one-list", plan(&[Kind::List], 4000, 1)),
        ("one-missing", plan(&[Kind::Missing], 4000, 1)),
        ("one-steady", plan(STEADY, 4000, 1)),
        ("four-idle", plan(&[Kind::Idle], 4096, 4)),
        ("four-steady", plan(STEADY, 4000, 4)),
        ("50-steady", plan(STEADY, 1000, 50)),
    ]
}

fn main() -> ExitCode {
    attackers::raise_descriptor_limit();
    let all = attacks();
    let tls = std::env::args().any(|arg| arg == "--tls");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    println!(
        "for {} s each; medians in ms, usual and under attack; longest upload in usual times; worst /healthz; peak of resident memory in MiB, of the kernel's for TCP in MB; how many were cut, and after how many s (median, longest); how many never;\n\
         failures of the normal client\n",
        PRESSURE.as_secs()
    );
    println!(
        "{:<12} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6} {:>6} {:>7} {:>7} {:>7} {:>6} {:>6}",
        "attack",
        "upload",
        "under",
        "ratio",
        "worst",
        "download",
        "under",
        "ratio",
        "healthz",
        "worst",
        "MiB",
        "TCP MB",
        "cut",
        "median",
        "longest",
        "never",
        "failed"
    );
    let mut held = true;
    for (name, plan) in &all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            held &= withstand(name, plan, tls);
            // Pause, so that closed sockets are gone before the next attack.
            thread::sleep(Duration::from_secs(1));
        }
    }
    println!(
        "\nunder {SLOWDOWN_MAX} times the usual time and {} ms at worst, /healthz under {} ms, memory under {} MiB, the \
         kernel's under {} MB, those that break the rules cut within {} s: {}",
        LONGEST_MAX.as_millis(),
        HEALTH_MAX.as_millis(),
        resident_max(tls) >> 20,
        KERNEL_MAX / 1_000_000,
        CUT_WITHIN.as_secs(),
        if held { "yes" } else { "NO" }
    );
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
