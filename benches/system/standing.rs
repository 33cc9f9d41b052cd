//! What is no comparison: how much memory 64 uploads at once take, how much processor time nodes take that have nothing to do, and
//! how many offers a second are turned away.

use std::time::{Duration, Instant};

use pixseal::client::upload::Audience;
use pixseal::durable::Durability;
use pixseal::members::Members;

use super::images::ImageSet;
use super::load;
use super::offers::{self, CONNECTIONS};
use super::rounds::{Bench, Spread};
use super::sections::pixseal;
use super::servers::Subject;
use crate::support::process;

const NODES: u32 = 3;
const CROWD: usize = 64;
const CROWD_SIDE: u32 = 2000;
const IDLE_TIME: Duration = Duration::from_secs(10);

const CLUSTER: Subject = pixseal(NODES, Durability::Fsync, Audience::All);

/// Peak resident memory of each server while 64 images of 16 MB arrive at once.
pub fn memory(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::squares(&bench.images, CROWD_SIDE, CROWD as u64)?;
    let mut peaks = vec![Vec::new(); NODES as usize];
    for round in 0..bench.rounds {
        eprintln!("memory: round {} of {}", round + 1, bench.rounds);
        let running = bench.prepared(CLUSTER, |_| Ok(()))?;
        load::upload(&running.endpoint, &set, CROWD, running.folder(), &bench.stop)?;
        for (peaks, id) in peaks.iter_mut().zip(running.ids()?) {
            peaks.push(process::resident_bytes_peak(id)? as f64 / 1048576.0);
        }
    }
    println!("\nmemory: {CROWD} uploads of 16 MB at once, peak resident memory in MiB");
    for (id, peaks) in (1..).zip(peaks) {
        println!("  node {id} {:>20}", Spread::of(peaks.into_iter()).show(1));
    }
    Ok(())
}

/// Processor time of three nodes that nobody asks for anything.
pub fn idle(bench: &Bench) -> Result<(), String> {
    let mut shares = Vec::new();
    for round in 0..bench.rounds {
        eprintln!("idle: round {} of {}", round + 1, bench.rounds);
        let running = bench.prepared(CLUSTER, |_| Ok(()))?;
        let before = running.cpu()?;
        bench.wait(IDLE_TIME)?;
        let used = running.cpu()? - before;
        shares.push(used.seconds() / IDLE_TIME.as_secs_f64() * 100.0);
    }
    println!("\nidle: {NODES} nodes together, {} s", IDLE_TIME.as_secs());
    println!("  {} % of one core", Spread::of(shares.into_iter()).show(2));
    Ok(())
}

/// Offers a second that are answered 307, the load generator on the same cores.
pub fn offers(bench: &Bench) -> Result<(), String> {
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        eprintln!("offers: round {} of {}", round + 1, bench.rounds);
        let running = bench.prepared(CLUSTER, |_| Ok(()))?;
        let members: Members = running.members().expect("it is a cluster");
        let before = running.cpu()?;
        let start = Instant::now();
        let answered = offers::drive(&members, &bench.stop)? as f64;
        rates.push(answered / start.elapsed().as_secs_f64());
        let used = running.cpu()? - before;
        costs.push(used.seconds() / answered * 1e6);
    }
    println!("\noffers: answered 307 on {CONNECTIONS} kept connections to {NODES} nodes");
    println!("  {} a second", Spread::of(rates.into_iter()).show(0));
    println!(
        "  {} microseconds of the servers' processor time each",
        Spread::of(costs.into_iter()).show(1)
    );
    Ok(())
}
