//! What is not a race: how much memory a crowd takes, how much processor time nodes take that have nothing to do, and
//! how many offers a second are turned away.

use std::time::{Duration, Instant};

use pixseal::client::upload::Audience;
use pixseal::members::Members;
use pixseal::store::Durability;

use super::images::Set;
use super::load;
use super::offers::{self, CONNECTIONS};
use super::rounds::{Lab, Spread};
use super::servers::{Build, Contestant};
use crate::support::process;

const NODES: u32 = 3;
const CROWD: usize = 64;
const CROWD_SIDE: u32 = 2000;
const IDLE_TIME: Duration = Duration::from_secs(10);

const CLUSTER: Contestant = Contestant::Pixseal {
    build: Build::This,
    nodes: NODES,
    durability: Durability::Fsync,
    audience: Audience::All,
};

/// Peak resident memory of each server while 64 images of 16 MB arrive at once.
pub fn memory(lab: &Lab) -> Result<(), String> {
    let set = Set::squares(&lab.images, CROWD_SIDE, CROWD as u64)?;
    let mut peaks = vec![Vec::new(); NODES as usize];
    for round in 0..lab.rounds {
        eprintln!("memory: round {} of {}", round + 1, lab.rounds);
        let running = lab.prepared(CLUSTER, |_| Ok(()))?;
        load::upload(&running.door, &set, CROWD, running.folder(), &lab.stop)?;
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
pub fn idle(lab: &Lab) -> Result<(), String> {
    let mut shares = Vec::new();
    for round in 0..lab.rounds {
        eprintln!("idle: round {} of {}", round + 1, lab.rounds);
        let running = lab.prepared(CLUSTER, |_| Ok(()))?;
        let before = running.cpu()?;
        lab.wait(IDLE_TIME)?;
        let used = running.cpu()? - before;
        shares.push(used.seconds() / IDLE_TIME.as_secs_f64() * 100.0);
    }
    println!("\nidle: {NODES} nodes together, {} s", IDLE_TIME.as_secs());
    println!("  {} % of one core", Spread::of(shares.into_iter()).show(2));
    Ok(())
}

/// Offers a second that are answered 307, the load generator on the same cores.
pub fn offers(lab: &Lab) -> Result<(), String> {
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds {
        eprintln!("offers: round {} of {}", round + 1, lab.rounds);
        let running = lab.prepared(CLUSTER, |_| Ok(()))?;
        let members: Members = running.members().expect("it is a cluster");
        let before = running.cpu()?;
        let start = Instant::now();
        let answered = offers::drive(&members, &lab.stop)? as f64;
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
