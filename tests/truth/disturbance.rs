//! Carries a schedule out on real processes, and brings everybody back at the end.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ledger::Ledger;
use crate::load::World;
use crate::schedule::{Fault, Outage, Schedule};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::{PATIENCE, wire};
use crate::weather::Weather;

const TICK: Duration = Duration::from_millis(5);

#[derive(Clone, Copy)]
enum Phase {
    Runs,
    /// Was told to go on at this moment at the earliest.
    Paused(Instant),
    /// Was asked to end, and starts again then at the earliest.
    Ends(Instant),
    /// Has ended, and starts again then.
    Ended(Instant),
    /// Was started, and does not serve yet.
    Starts,
}

/// Disturbs `cluster` with at most `down` nodes away at a time, and returns after `until`, when all run again.
pub(crate) fn disturb(
    cluster: &mut TestCluster,
    schedule: &mut Schedule,
    down: usize,
    world: &World,
    until: Instant,
) {
    let World { ledger, weather, .. } = world;
    let mut phases = vec![Phase::Runs; cluster.nodes.len()];
    let mut next = schedule.next().expect("a schedule has no end");
    let mut due = Instant::now() + next.gap;
    loop {
        for (node, phase) in cluster.nodes.iter_mut().zip(&mut phases) {
            *phase = advance(node, *phase, ledger, weather);
        }
        let is_over = Instant::now() >= until;
        let away = weather.away_count();
        if is_over && away == 0 {
            return;
        }
        let limit = if next.alone { 1 } else { down };
        let may = down > 0 && away < limit && !weather.is_away(next.node);
        if !is_over && Instant::now() >= due {
            if may {
                let at = next.node as usize - 1;
                phases[at] = begin(&mut cluster.nodes[at], next, ledger, weather);
            }
            // A node that is away already is left alone; one that has to wait for the others waits.
            if may || weather.is_away(next.node) {
                next = schedule.next().expect("a schedule has no end");
                due = Instant::now() + next.gap;
            }
        }
        thread::sleep(TICK);
    }
}

fn begin(node: &mut TestNode, outage: Outage, ledger: &Ledger, weather: &Weather) -> Phase {
    let back = Instant::now() + outage.length;
    let length = outage.length.as_secs_f64();
    match outage.fault {
        Fault::Stop => {
            weather.leaves(
                node.id,
                ledger.now(),
                &format!("is asked to end, for {length:.2} s"),
            );
            node.signal(Signal::TERM);
            Phase::Ends(back)
        }
        Fault::Kill => {
            weather.leaves(node.id, ledger.now(), &format!("is killed, for {length:.2} s"));
            node.kill();
            Phase::Ended(back)
        }
        Fault::Pause => {
            weather.leaves(node.id, ledger.now(), &format!("is paused, for {length:.2} s"));
            node.signal(Signal::STOP);
            Phase::Paused(back)
        }
    }
}

fn advance(node: &mut TestNode, phase: Phase, ledger: &Ledger, weather: &Weather) -> Phase {
    match phase {
        Phase::Runs | Phase::Starts if node.has_ended() => {
            panic!("node {} ended by itself", node.id);
        }
        Phase::Paused(until) if Instant::now() >= until => {
            node.signal(Signal::CONT);
            weather.returns(node.id, ledger.now(), "goes on");
            Phase::Runs
        }
        Phase::Ends(until) if node.has_ended() => {
            let status = node.await_end();
            assert!(
                status.success(),
                "node {} was asked to end, and ended with {status}",
                node.id
            );
            weather.note(ledger.now(), format!("node {} has ended", node.id));
            Phase::Ended(until)
        }
        Phase::Ends(until) => {
            assert!(until + PATIENCE > Instant::now(), "node {} does not end", node.id);
            phase
        }
        Phase::Ended(until) if Instant::now() >= until => {
            node.launch();
            weather.note(ledger.now(), format!("node {} is started", node.id));
            Phase::Starts
        }
        Phase::Starts if serves(node) => {
            weather.returns(node.id, ledger.now(), "serves again");
            Phase::Runs
        }
        _ => phase,
    }
}

fn serves(node: &TestNode) -> bool {
    std::net::TcpStream::connect(node.address).is_ok()
        && wire::try_ask(node.address, "GET", "/healthz").is_some_and(|answer| answer.status == 200)
}
