//! One image offered to the nodes and sent to the one that accepts it.
//!
//! An offer is the head of a PUT with `Expect: 100-continue` and `Connection: offer`: the promise that the body
//! follows only after `100 Continue`. Every node answers from its own view; one says 100 and gets the body, the
//! others say 307 and their connections stay usable. The body travels once. Everything that happened is reported
//! in an [`Upload`]; judging it is left to the caller.
//!
//! A small image for one node only goes out together with its head: waiting for `100 Continue` would take longer than
//! sending it in vain, should the node turn out to be the wrong one.

mod offers;

use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::answer::Receipt;
use super::connection::{Cause, Connection, Failure};
use super::{Answered, Client, refusal, target_of};
use crate::balancer;
use crate::http::response::Response;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// How much of a body is read and sent at a time. Larger pieces leave the processor's cache.
pub const PIECE_BYTES: usize = 256 << 10;
/// The largest image that is sent without being offered first, if it goes to one node only. For 40 kB that is a tenth
/// more uploads a second.
const EAGER_BYTES_MAX: u64 = 64 << 10;
/// The longest answer to an offer or an upload, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The shortest wait before an image is offered again; the longest is twice this.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest wait that a node can ask for with `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A node that fails this often in a row, by its own word, is believed.
const BROKEN_MAX: u32 = 3;
/// How many setbacks of one image are kept.
const SETBACKS_MAX: usize = 64;

/// Where the bytes of an image come from.
pub enum Body<'a> {
    /// They are there.
    Bytes(&'a [u8]),
    /// They are read a piece at a time, from its beginning.
    File(&'a mut std::fs::File, u64),
}

/// Whom an image is offered to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every node: all of them decide.
    All,
    /// The node that should take it; the others only if they are named.
    Assigned,
}

/// How one image is to be uploaded.
pub struct Terms<'a> {
    /// Whom it is offered to. A small image for [`Audience::Assigned`] is sent at once, unless `hold` is set.
    pub audience: Audience,
    /// When to stop trying.
    pub deadline: Instant,
    /// When raised, there is no further try.
    pub stop: &'a AtomicBool,
    /// Holds back the last bytes for so long, to see whether the node acknowledges what it has not got.
    pub hold: Option<Duration>,
}

/// What happened to one image.
#[derive(Debug)]
pub struct Upload {
    /// The receipt, or the last failure.
    pub outcome: Result<Receipt, Failure>,
    /// Who answered 100 and was sent the body, in the last round.
    pub accepted: Option<NodeId>,
    /// Who answered 100 as well.
    pub also_accepted: Vec<NodeId>,
    /// From the first offer until the receipt, or until the end of trying; pauses and `held` included.
    pub elapsed: Duration,
    /// From the first offer of the last round until 100; nothing for an image that was sent at once.
    pub offer: Duration,
    /// From there until the last byte of the body was handed to the kernel.
    pub transfer: Duration,
    /// From there until the receipt.
    pub receipt: Duration,
    /// For how long the last bytes were held back on purpose; part of none of the above.
    pub held: Duration,
    /// Whether the node answered before it had all of the body.
    pub answered_early: bool,
    /// How often the image was offered.
    pub rounds: u32,
    /// What went wrong on the way, and with whom; the first of them, if there were many.
    pub setbacks: Vec<(Option<NodeId>, Cause)>,
    /// Bytes of the body that were sent, in all rounds.
    pub body_bytes_sent: u64,
}

impl Body<'_> {
    /// The size of the image.
    pub fn bytes(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, bytes) => *bytes,
        }
    }

    /// All of an image that is small enough, read into `room` if it is not in memory.
    fn read_small<'b>(&'b mut self, room: &'b mut Vec<u8>) -> Result<&'b [u8], Failure> {
        match self {
            Body::Bytes(bytes) => Ok(bytes),
            Body::File(file, bytes) => {
                let bytes = usize::try_from(*bytes).expect("it is small");
                let read = make_room(room, bytes);
                file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
                file.read_exact(read).map_err(|e| unreadable(&e))?;
                Ok(read)
            }
        }
    }
}

/// The first `bytes` of `room`, which grows if it has to.
fn make_room(room: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if room.len() < bytes {
        room.resize(bytes, 0);
    }
    &mut room[..bytes]
}

fn unreadable(e: &std::io::Error) -> Failure {
    Failure {
        cause: Cause::Refused,
        text: format!("cannot read the image: {e}"),
    }
}

/// How long to wait before trying again: between [`PAUSE_MIN`] and twice that, so that clients do not march in step.
pub(super) fn pause(salt: u64) -> Duration {
    let scattered = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    PAUSE_MIN + PAUSE_MIN.mul_f64(scattered as f64 / 256.0)
}

/// One image while it is being uploaded.
struct Job<'a, 'b> {
    started: Instant,
    image: &'a ImageId,
    target: String,
    fields: String,
    /// The image goes out with its head, and nobody is asked for `100 Continue`.
    eager: bool,
    body: Body<'b>,
    terms: Terms<'a>,
    upload: Upload,
    named: Option<(NodeId, String)>,
    wait: Duration,
}

impl Client {
    /// Offers `image`, sends the body to the node that accepts it, and reads the receipt; offers it again, until
    /// the deadline, while nobody accepts or the connection breaks.
    pub fn upload(&mut self, image: &ImageId, body: Body<'_>, terms: Terms<'_>) -> Upload {
        let eager =
            terms.audience == Audience::Assigned && terms.hold.is_none() && body.bytes() <= EAGER_BYTES_MAX;
        let promise = if eager {
            ""
        } else {
            "Expect: 100-continue\r\nConnection: offer\r\n"
        };
        let fields = format!(
            "Content-Length: {}\r\nContent-Type: image/png\r\n{promise}",
            body.bytes()
        );
        let mut job = Job {
            started: Instant::now(),
            image,
            target: target_of(image),
            fields,
            eager,
            body,
            terms,
            upload: Upload::new(),
            named: None,
            wait: Duration::ZERO,
        };
        let mut broken = 0;
        loop {
            let failure = match self.round(&mut job) {
                Ok(receipt) => {
                    job.upload.outcome = Ok(receipt);
                    return job.upload;
                }
                Err(failure) => failure,
            };
            broken = if failure.cause == Cause::Broken {
                broken + 1
            } else {
                0
            };
            let hopeless = matches!(failure.cause, Cause::Refused | Cause::DiskFull) || broken == BROKEN_MAX;
            job.upload.outcome = Err(failure);
            if hopeless
                || job.terms.stop.load(Ordering::Relaxed)
                || Instant::now() + job.wait >= job.terms.deadline
            {
                job.upload.elapsed = job.started.elapsed();
                return job.upload;
            }
            std::thread::sleep(job.wait);
        }
    }

    /// Sends the body and reads the receipt.
    fn deliver(
        &mut self,
        job: &mut Job<'_, '_>,
        node: NodeId,
        mut connection: Connection,
    ) -> Result<Receipt, Failure> {
        let start = Instant::now();
        let sent = job.send_body(&mut connection, &mut self.room, self.patience.body);
        job.upload.transfer = start.elapsed().saturating_sub(job.upload.held);
        let start = Instant::now();
        let deadline = start + self.patience.body;
        // A node that refuses in the middle of a body answers and closes: the answer says more than the reset.
        let response = match (connection.head(deadline), sent) {
            (Ok(response), _) => response,
            (Err(_), Err(failure)) | (Err(failure), Ok(())) => return Err(failure),
        };
        self.receipt(job, node, connection, response, start)
    }

    /// Reads the rest of the final answer to a body that was sent until `start`.
    fn receipt(
        &mut self,
        job: &mut Job<'_, '_>,
        node: NodeId,
        mut connection: Connection,
        response: Response,
        start: Instant,
    ) -> Result<Receipt, Failure> {
        let deadline = start + self.patience.body;
        let content = connection.read_all(&response, ANSWER_BYTES_MAX, deadline)?;
        job.upload.receipt = start.elapsed();
        job.upload.elapsed = job.started.elapsed();
        self.keep(node, connection, &response);
        let answered = Answered {
            node,
            response,
            content,
        };
        match answered.response.status {
            200 | 201 => super::parse_json(&answered),
            _ => Err(refusal(&answered)),
        }
    }
}

impl Upload {
    fn new() -> Upload {
        Upload {
            outcome: Err(Failure {
                cause: Cause::Stopped,
                text: "not tried".to_owned(),
            }),
            accepted: None,
            also_accepted: Vec::new(),
            elapsed: Duration::ZERO,
            offer: Duration::ZERO,
            transfer: Duration::ZERO,
            receipt: Duration::ZERO,
            held: Duration::ZERO,
            answered_early: false,
            rounds: 0,
            setbacks: Vec::new(),
            body_bytes_sent: 0,
        }
    }
}

impl Job<'_, '_> {
    fn begin_round(&mut self) {
        self.upload.rounds += 1;
        self.upload.accepted = None;
        self.named = None;
        let salt = balancer::hash(self.image.user(), self.image.name());
        self.wait = pause(salt ^ u64::from(self.upload.rounds));
    }

    fn note(&mut self, node: Option<NodeId>, cause: Cause) {
        if self.upload.setbacks.len() < SETBACKS_MAX {
            self.upload.setbacks.push((node, cause));
        }
    }

    fn send_body(
        &mut self,
        connection: &mut Connection,
        room: &mut Vec<u8>,
        patience: Duration,
    ) -> Result<(), Failure> {
        let total = self.body.bytes();
        let mut sent = 0;
        if let Body::File(file, _) = &mut self.body {
            file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
        }
        while sent < total {
            let piece = match &mut self.body {
                Body::Bytes(bytes) => {
                    let start = usize::try_from(sent).expect("a position in memory");
                    &bytes[start..bytes.len().min(start + PIECE_BYTES)]
                }
                Body::File(file, _) => {
                    let left = usize::try_from(total - sent)
                        .unwrap_or(PIECE_BYTES)
                        .min(PIECE_BYTES);
                    let piece = make_room(room, left);
                    let count = file.read(piece).map_err(|e| unreadable(&e))?;
                    if count == 0 {
                        return Err(unreadable(&std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    &piece[..count]
                }
            };
            let piece_end = sent + piece.len() as u64;
            let deadline = Instant::now() + patience;
            match self.terms.hold {
                Some(hold) if piece_end == total => {
                    let (first, last) = piece.split_at(piece.len() - 1);
                    connection.send(first, deadline)?;
                    let start = Instant::now();
                    self.upload.answered_early |= connection.stirs(hold)?;
                    self.upload.held = start.elapsed();
                    connection.send(last, Instant::now() + patience)?;
                }
                _ => connection.send(piece, deadline)?,
            }
            self.upload.body_bytes_sent += piece_end - sent;
            sent = piece_end;
        }
        Ok(())
    }
}
