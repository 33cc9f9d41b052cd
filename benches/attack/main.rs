//! `make attack`: 1,000 idle and slow connections from 50 addresses against one node, and what a normal client
//! notices of them.
//!
//! Each kind of attack is run alone and all are run mixed. A connection that is cut is opened again, 200 a second, for as long as the
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
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use attackers::{Attack, Kind};
use support::cluster::{TestCluster, TestNode};
use support::wire::{Wire, put_head};
use support::{picture, process};

/// Attacking connections at any time.
const CONNECTIONS: usize = 1000;
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
const HEALTH_MAX: Duration = Duration::from_millis(100);
const RESIDENT_MAX: u64 = 128 << 20;
/// What the kernel may hold for all TCP connections of the machine, both ends of these.
const KERNEL_MAX: u64 = 300_000_000;

const NORMAL: &str = "/images/normal/picture.png";
const LARGE: &str = "/images/normal/large.png";

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
    fn round(&mut self, node: &TestNode, image: &[u8]) {
        let failures = &mut self.failures;
        self.health.extend(timed(failures, "healthz", || look(node)));
        self.uploads
            .extend(timed(failures, "upload", || upload(node, image)));
        self.health.extend(timed(failures, "healthz", || look(node)));
        self.downloads
            .extend(timed(failures, "download", || download(node, image)));
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

fn upload(node: &TestNode, image: &[u8]) -> Result<(), String> {
    let mut wire = Wire::connect(node.address);
    wire.send(&put_head(
        node.address,
        NORMAL,
        image.len(),
        "Expect: 100-continue\r\n",
    ));
    expect(100, wire.answer().map_or(0, |answer| answer.status))?;
    wire.send(image);
    expect(200, wire.answer().map_or(0, |answer| answer.status))
}

fn download(node: &TestNode, image: &[u8]) -> Result<(), String> {
    let answer = node.ask("GET", NORMAL);
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

/// Runs one attack, prints its line, and says whether everything held.
fn withstand(name: &str, kinds: &[Kind]) -> bool {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(IMAGE_BYTES);
    assert_eq!(node.put(NORMAL, &image).status, 201);
    assert_eq!(node.put(LARGE, &picture::sized(LARGE_BYTES)).status, 201);
    let mut usual = Noticed::default();
    for _ in 0..USUAL_ROUNDS {
        usual.round(node, &image);
    }
    let attack = Attack::start(node.address, LARGE, kinds, CONNECTIONS);
    attack.await_all_open();
    let mut pressed = Noticed::default();
    let (begun, mut resident, mut kernel) = (Instant::now(), 0, 0);
    while begun.elapsed() < PRESSURE {
        pressed.round(node, &image);
        resident = resident.max(process::resident_bytes(node.pid()).unwrap());
        kernel = kernel.max(tcp_bytes());
    }
    let outcome = attack.finish(2 * CUT_WITHIN);
    resident = resident.max(process::resident_bytes_peak(node.pid()).unwrap());
    let upload = median(&pressed.uploads).as_secs_f64() / median(&usual.uploads).as_secs_f64();
    let worst = longest(&pressed.uploads).as_secs_f64() / median(&usual.uploads).as_secs_f64();
    let download = median(&pressed.downloads).as_secs_f64() / median(&usual.downloads).as_secs_f64();
    let health = longest(&pressed.health);
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
        && kernel < KERNEL_MAX
        && download < SLOWDOWN_MAX
        && health < HEALTH_MAX
        && resident < RESIDENT_MAX
        && outcome.stays.iter().all(|stay| *stay <= CUT_WITHIN)
        && outcome.left == 0
        && pressed.failures.is_empty()
}

fn main() -> ExitCode {
    attackers::raise_descriptor_limit();
    let all = [
        (
            "mixed",
            &[Kind::Idle, Kind::SlowHeader, Kind::SlowBody, Kind::SlowRead][..],
        ),
        ("idle", &[Kind::Idle]),
        ("slow-header", &[Kind::SlowHeader]),
        ("slow-body", &[Kind::SlowBody]),
        ("slow-read", &[Kind::SlowRead]),
    ];
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    println!(
        "{CONNECTIONS} connections from {} addresses, for {} s; medians in ms, usual and under attack; longest upload\n\
         in usual times; worst /healthz; peak of resident memory in MiB, of the kernel's for TCP in MB; how many were cut, and after how many s (median, longest); how many never;\n\
         failures of the normal client\n",
        attackers::ADDRESSES,
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
    for (name, kinds) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            held &= withstand(name, kinds);
            // Pause, so that closed sockets are gone before the next attack.
            thread::sleep(Duration::from_secs(1));
        }
    }
    println!(
        "\nunder {SLOWDOWN_MAX} times the usual time, /healthz under {} ms, memory under {} MiB, the \
         kernel's under {} MB, cut within {} s: {}",
        HEALTH_MAX.as_millis(),
        RESIDENT_MAX >> 20,
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
