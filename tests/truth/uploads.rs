//! Uploads through the library's client, with its patience and its retries: none of them may fail for good.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;

use crate::judge::{Condition, Content, Effect};
use crate::ledger::Entry;
use crate::load::World;
use crate::support::random::Random;

/// What the command `client` allows by itself for one image.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many uploads there were, and how many needed more than one round.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) uploads: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// One client, until `over`.
pub(crate) fn client(world: &World, mut random: Random, count: &Count, over: &AtomicBool) {
    let mut client = Client::new(&world.members, Patience::default());
    while !over.load(Ordering::Relaxed) {
        let name = usize::try_from(random.within(0..world.load_names as u64)).unwrap();
        let audience = if random.chance(50) {
            Audience::All
        } else {
            Audience::Assigned
        };
        upload(world, &mut client, name, audience, count);
        thread::sleep(random.millis(20..150));
    }
}

fn upload(world: &World, client: &mut Client, name: usize, audience: Audience, count: &Count) {
    let (image, (write, picture)) = {
        let mut page = world.ledger.page(name);
        (ImageId::new(&page.user, &page.name).unwrap(), page.next_write())
    };
    // Tags of a write that is sent twice prove nothing, and how often it will be sent is not known yet.
    world.ledger.page(name).is_repeated(write);
    let begin = world.ledger.now();
    let terms = Terms {
        audience,
        deadline: Instant::now() + DEADLINE,
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let upload = client.upload(&image, UploadBody::Bytes(&picture), terms);
    let end = world.ledger.now();
    let times_sent = upload.body_bytes_sent.div_ceil(picture.len() as u64);
    let acknowledged = u64::from(upload.outcome.is_ok());
    count.uploads.fetch_add(1, Ordering::Relaxed);
    count
        .repeated
        .fetch_add(u64::from(upload.rounds > 1), Ordering::Relaxed);
    let answer = match &upload.outcome {
        Ok(receipt) => format!("stored on node {} in {} rounds", receipt.node, upload.rounds),
        Err(failure) => {
            count.failed.fetch_add(1, Ordering::Relaxed);
            let text = format!(
                "upload {write} of {image} failed for good: {failure}; {:?}",
                upload.setbacks
            );
            world.availability.upload_failed(text.clone());
            text
        }
    };
    world.ledger.count(
        "upload by our client",
        if acknowledged == 1 { "stored" } else { "failed" },
    );
    let content = Content::Bytes(write);
    let enter = |what: &str, effect: Effect| {
        let (what, asked, answer) = (format!("{what} {write}"), None, answer.clone());
        world.ledger.page(name).entries.push(Entry {
            begin,
            end,
            what,
            asked,
            answer,
            effect: Some(effect),
        });
    };
    if acknowledged == 1 {
        enter("upload", Effect::Wrote(Condition::Anything, content));
    }
    for _ in acknowledged..times_sent {
        enter("try of upload", Effect::Perhaps(Condition::Anything, content));
    }
}
