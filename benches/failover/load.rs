//! Clients that upload as fast as the servers take it, so that both cores are busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;

use crate::support::picture;

const CLIENTS: u64 = 8;
/// Each client overwrites this many images of its own, so that the disk does not fill.
const IMAGES: u64 = 16;
/// Pixels a side: 4 MiB of them, 4 bytes each.
const SIDE: u32 = 1024;
/// An upload that has not succeeded within this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct UploadLoad {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<UploadCounts>>,
    started: Instant,
}

#[derive(Default)]
struct UploadCounts {
    uploads: u64,
    failures: u64,
}

impl UploadLoad {
    pub(crate) fn start(members: &Members) -> UploadLoad {
        let stop = Arc::new(AtomicBool::new(false));
        let image: Arc<[u8]> = picture::noise(SIDE, SIDE, 1).into();
        let clients = (0..CLIENTS).map(|number| {
            let (members, stop, image) = (members.clone(), Arc::clone(&stop), Arc::clone(&image));
            let work = move || upload(&members, number, &image, &stop);
            thread::Builder::new()
                .name(format!("client {number}"))
                .spawn(work)
                .unwrap()
        });
        let clients = clients.collect();
        UploadLoad {
            stop,
            clients,
            started: Instant::now(),
        }
    }

    /// Ends it and says what it did.
    pub(crate) fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = UploadCounts::default();
        for client in self.clients {
            let tally = client.join().unwrap();
            sum.uploads += tally.uploads;
            sum.failures += tally.failures;
        }
        let rate = sum.uploads as f64 / self.started.elapsed().as_secs_f64();
        format!(
            "{} uploads of 4 MiB, {rate:.0} a second, {} failed",
            sum.uploads, sum.failures
        )
    }
}

fn upload(members: &Members, number: u64, image: &[u8], stop: &AtomicBool) -> UploadCounts {
    let mut client = Client::new(members, Patience::default());
    let mut tally = UploadCounts::default();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("load_{number}_{}.png", tally.uploads % IMAGES);
        let id = ImageId::new("bench", &name).unwrap();
        let never = AtomicBool::new(false);
        let terms = Terms {
            audience: Audience::All,
            deadline: Instant::now() + PATIENCE,
            stop: &never,
            hold: None,
        };
        tally.uploads += 1;
        tally.failures += u64::from(
            client
                .upload(&id, UploadBody::Bytes(image), terms)
                .outcome
                .is_err(),
        );
    }
    tally
}
