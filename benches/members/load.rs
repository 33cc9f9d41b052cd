//! Uploads at a constant rate, whatever the cluster does meanwhile, each of another image.
//!
//! Every upload has its moment. One that has to wait for its turn counts from that moment on, so that a standstill
//! shows. The clients know the three members of the beginning, and whatever nodes tell them later.

#![allow(dead_code, reason = "several drills share this, and each uses a part")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::error::ErrorKind;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, Upload, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::roster::NodeId;

use crate::support::picture;

/// Uploads a second.
pub(crate) const RATE: u64 = 25;
/// A load that lags behind further would not be the load that was promised.
const RATE_PERCENT_MIN: u128 = 95;
/// As many uploads can be under way at a time: over a second of them.
const CLIENTS: u64 = 32;
/// An upload that has not succeeded within this, whatever our client tries, has failed.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(10);
const USER: &str = "drill";
const SIDE: u32 = 10;

pub(crate) struct SteadyLoad {
    schedule: Arc<Schedule>,
    clients: Vec<JoinHandle<()>>,
}

struct Schedule {
    begun: Instant,
    audience: Audience,
    next: AtomicU64,
    stop: AtomicBool,
    done: Mutex<Vec<TimedUpload>>,
}

/// One upload that has ended.
#[derive(Clone)]
pub(crate) struct TimedUpload {
    pub(crate) number: u64,
    /// From the moment at which it was due.
    pub(crate) took: Duration,
    pub(crate) ended: Instant,
    /// The node that has stored it.
    pub(crate) node: Option<NodeId>,
    /// A node has refused it for lack of room on the way.
    pub(crate) met_full_disk: bool,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl SteadyLoad {
    pub(crate) fn start(members: &Members, audience: Audience) -> SteadyLoad {
        let schedule = Arc::new(Schedule {
            begun: Instant::now(),
            audience,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            done: Mutex::default(),
        });
        let clients = (0..CLIENTS).map(|number| {
            let (schedule, members) = (Arc::clone(&schedule), members.clone());
            let work = move || schedule.work(&members);
            let thread = thread::Builder::new().name(format!("client {number}"));
            thread.spawn(work).unwrap()
        });
        let clients = clients.collect();
        SteadyLoad { schedule, clients }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.schedule.begun.elapsed()
    }

    /// What has ended since the first `seen` uploads that have ended.
    pub(crate) fn since(&self, seen: usize) -> Vec<TimedUpload> {
        self.schedule.done.lock().unwrap()[seen..].to_vec()
    }

    /// Begins no further upload, and waits for those that are under way.
    pub(crate) fn stop(self) -> Vec<TimedUpload> {
        self.schedule.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        std::mem::take(&mut self.schedule.done.lock().unwrap())
    }
}

impl Schedule {
    fn work(&self, members: &Members) {
        let mut client = Client::new(members, Patience::default());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.begun + Duration::from_secs(number) / u32::try_from(RATE).unwrap();
            while Instant::now() < due {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::park_timeout(due - Instant::now());
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let upload = upload(&mut client, number, self.audience);
            self.done.lock().unwrap().push(TimedUpload {
                number,
                took: due.elapsed(),
                ended: Instant::now(),
                node: upload.outcome.as_ref().ok().map(|receipt| receipt.node),
                met_full_disk: upload
                    .setbacks
                    .iter()
                    .any(|(_, kind)| *kind == ErrorKind::DiskFull),
                error: upload.outcome.err().map(|error| error.to_string()),
            });
        }
    }
}

fn upload(client: &mut Client, number: u64, audience: Audience) -> Upload {
    let never = AtomicBool::new(false);
    let terms = Terms {
        audience,
        deadline: Instant::now() + UPLOAD_TIME_MAX,
        stop: &never,
        hold: None,
    };
    client.upload(&id(number), UploadBody::Bytes(&image(number)), terms)
}

/// How many uploads there have to be after so long.
pub(crate) fn uploads_min(elapsed: Duration) -> usize {
    let due = elapsed.as_millis() / u128::from(1000 / RATE);
    usize::try_from(due * RATE_PERCENT_MIN / 100).unwrap()
}

pub(crate) fn id(number: u64) -> ImageId {
    ImageId::new(USER, &format!("image_{number}.png")).unwrap()
}

/// The bytes of image `number`; no two are alike.
pub(crate) fn image(number: u64) -> Vec<u8> {
    picture::noise(SIDE, SIDE, number)
}
