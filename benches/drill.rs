//! Real servers in network namespaces of their own, and a network that fails between them.
//!
//! Each node has a namespace and a cable to this one, where this program passes its datagrams on, or not: so each
//! node knows the others by addresses at this end of its own cable. Needs root and `ip`, and leaves nothing behind.
//! Heartbeats only: no upload passes through here.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "drills run processes and sockets"
)]
#![allow(clippy::unwrap_used, reason = "a drill that cannot run stops")]

#[path = "drill/cables.rs"]
mod cables;
#[path = "../tests/membership/herd.rs"]
mod herd;

use std::path::Path;
use std::time::{Duration, Instant};

use cables::{Cables, Weather};
use herd::Herd;

const NODES: u32 = 3;
/// Loss and delay are watched for this long.
const WATCH: Duration = Duration::from_secs(20);

fn main() {
    let server = Path::new(env!("CARGO_BIN_EXE_server"));
    let cables = match Cables::lay(NODES) {
        Ok(cables) => cables,
        Err(why) => {
            println!("drill: not run: {why}");
            return;
        }
    };
    let mut herd = Herd::launch(server, cables.homes());
    let mut drill = Drill {
        herd: &mut herd,
        cables: &cables,
    };
    drill.pulled_cable();
    drill.split();
    drill.one_way();
    drill.weather(
        "30 % loss",
        Weather {
            loss_percent: 30,
            ..Weather::default()
        },
    );
    drill.weather(
        "delay of 100 to 300 ms",
        Weather {
            delay_ms: 100..300,
            ..Weather::default()
        },
    );
    println!("drill: passed");
}

struct Drill<'a> {
    herd: &'a mut Herd,
    cables: &'a Cables,
}

impl Drill<'_> {
    fn pulled_cable(&mut self) {
        let since = Instant::now();
        self.cables.pull(3);
        self.two_sides("node 3: cable pulled", since);
        self.cables.plug(3);
        self.healed();
    }

    fn split(&mut self) {
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2), (1, 3), (2, 3)]);
        self.two_sides("node 3 | nodes 1 and 2, both ways", since);
        self.cables.block(&[]);
        self.healed();
    }

    /// Node 3 still hears the others, and hears in their words that they do not hear it.
    fn one_way(&mut self) {
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2)]);
        self.two_sides("node 3 is not heard, but hears", since);
        self.cables.block(&[]);
        self.healed();
    }

    fn two_sides(&mut self, what: &str, since: Instant) {
        let majority = self.herd.wait_for(&[1, 2], Some(2)) - since;
        let alone = self.herd.wait_for(&[3], Some(3)) - since;
        println!(
            "{what}: 1 and 2 go on after {} ms, 3 alone after {} ms",
            majority.as_millis(),
            alone.as_millis()
        );
    }

    fn healed(&mut self) {
        let since = Instant::now();
        let agreed = self.herd.wait_for_all(None) - since;
        self.herd.wait_for_all(Some(3));
        println!(
            "    healed: one leader after {} ms, node 3 again after {} ms",
            agreed.as_millis(),
            since.elapsed().as_millis()
        );
        self.herd.findings.clear();
    }

    fn weather(&mut self, what: &str, weather: Weather) {
        self.cables.set(weather);
        self.herd.listen_until(Instant::now() + WATCH);
        let deaths = self.herd.findings.iter().filter(|finding| finding.dead).count();
        let suspicions = self.herd.findings.len() - deaths;
        println!(
            "{what} for {} s: {suspicions} false suspicions, {deaths} false deaths",
            WATCH.as_secs()
        );
        self.cables.set(Weather::default());
        self.herd.wait_for_all(Some(3));
        self.herd.findings.clear();
    }
}
