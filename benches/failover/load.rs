//! Clients that upload as fast as the servers take it, so that both cores are busy.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, PIECE_BYTES, Terms, UploadBody};
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
    members: Members,
    stop: Arc<AtomicBool>,
    image: Arc<[u8]>,
    clients: Vec<JoinHandle<Uploads>>,
    started: Instant,
}

/// What became of the uploads of one client, or of all.
#[derive(Default)]
pub(crate) struct Uploads {
    pub(crate) count: usize,
    pub(crate) failed: usize,
    /// Images that were acknowledged and are not there, or not what they were.
    pub(crate) lost: usize,
    acknowledged: BTreeSet<ImageId>,
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
            members: members.clone(),
            stop,
            image,
            clients,
            started: Instant::now(),
        }
    }

    /// Ends it, says what it did, and reads back what was acknowledged.
    pub(crate) fn stop(self) -> Uploads {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Uploads::default();
        for client in self.clients {
            let uploads = client.join().unwrap();
            sum.count += uploads.count;
            sum.failed += uploads.failed;
            sum.acknowledged.extend(uploads.acknowledged);
        }
        println!(
            "    {} uploads of 4 MiB, {:.0} a second",
            sum.count,
            sum.count as f64 / self.started.elapsed().as_secs_f64()
        );
        let mut client = Client::new(&self.members, Patience::default());
        let lost = |id: &&ImageId| !is_there(&mut client, id, &self.image);
        sum.lost = sum.acknowledged.iter().filter(lost).count();
        sum
    }
}

fn upload(members: &Members, number: u64, image: &[u8], stop: &AtomicBool) -> Uploads {
    let mut client = Client::new(members, Patience::default());
    let mut uploads = Uploads::default();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("load_{number}_{}.png", uploads.count as u64 % IMAGES);
        let id = ImageId::new("bench", &name).unwrap();
        let never = AtomicBool::new(false);
        let terms = Terms {
            audience: Audience::All,
            deadline: Instant::now() + PATIENCE,
            stop: &never,
            hold: None,
        };
        uploads.count += 1;
        match client.upload(&id, UploadBody::Bytes(image), terms).outcome {
            Ok(_) => {
                uploads.acknowledged.insert(id);
            }
            Err(_) => uploads.failed += 1,
        }
    }
    uploads
}

fn is_there(client: &mut Client, id: &ImageId, image: &[u8]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let Ok(Some(mut download)) = client.download(id, None, deadline) else {
        return false;
    };
    let mut piece = vec![0; PIECE_BYTES];
    let mut rest = image;
    while let Ok(length @ 1..) = download.read(&mut piece, deadline) {
        match rest.strip_prefix(&piece[..length]) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    client.finish(download);
    rest.is_empty()
}
