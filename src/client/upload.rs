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
use super::connection::NodeConnection;
use super::error::{Error, ErrorKind};
use super::{Answered, Client, error_of, target_of};
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
pub enum UploadBody<'a> {
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
    /// The receipt, or the last error.
    pub outcome: Result<Receipt, Error>,
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
    pub setbacks: Vec<(Option<NodeId>, ErrorKind)>,
    /// Bytes of the body that were sent, in all rounds.
    pub body_bytes_sent: u64,
}

impl UploadBody<'_> {
    /// The size of the image.
    pub fn bytes(&self) -> u64 {
        match self {
            UploadBody::Bytes(bytes) => bytes.len() as u64,
            UploadBody::File(_, bytes) => *bytes,
        }
    }

    /// All of an image that is small enough, read into `buf` if it is not in memory.
    fn read_small<'b>(&'b mut self, buf: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        match self {
            UploadBody::Bytes(bytes) => Ok(bytes),
            UploadBody::File(file, bytes) => {
                let bytes = usize::try_from(*bytes).expect("it is small");
                let read = make_room(buf, bytes);
                file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
                file.read_exact(read).map_err(|e| unreadable(&e))?;
                Ok(read)
            }
        }
    }
}

/// The first `bytes` of `buf`, which grows if it has to.
fn make_room(buf: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buf.len() < bytes {
        buf.resize(bytes, 0);
    }
    &mut buf[..bytes]
}

fn unreadable(e: &std::io::Error) -> Error {
    Error {
        kind: ErrorKind::Refused,
        text: format!("cannot read the image: {e}"),
    }
}

/// How long to wait before trying again: between [`PAUSE_MIN`] and twice that, so that clients do not march in step.
pub(super) fn pause(salt: u64) -> Duration {
    let scattered = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    PAUSE_MIN + PAUSE_MIN.mul_f64(scattered as f64 / 256.0)
}

/// One image while it is being uploaded.
struct PendingUpload<'a, 'b> {
    started: Instant,
    image: &'a ImageId,
    target: String,
    fields: String,
    /// The image goes out with its head, and nobody is asked for `100 Continue`.
    eager: bool,
    body: UploadBody<'b>,
    terms: Terms<'a>,
    upload: Upload,
    named: Option<(NodeId, String)>,
    wait: Duration,
}

impl Client {
    /// Offers `image`, sends the body to the node that accepts it, and reads the receipt; offers it again, until
    /// the deadline, while nobody accepts or the connection breaks.
    pub fn upload(&mut self, image: &ImageId, body: UploadBody<'_>, terms: Terms<'_>) -> Upload {
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
        let mut job = PendingUpload {
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
            let error = match self.round(&mut job) {
                Ok(receipt) => {
                    job.upload.outcome = Ok(receipt);
                    return job.upload;
                }
                Err(error) => error,
            };
            broken = if error.kind == ErrorKind::Broken {
                broken + 1
            } else {
                0
            };
            let hopeless =
                matches!(error.kind, ErrorKind::Refused | ErrorKind::DiskFull) || broken == BROKEN_MAX;
            job.upload.outcome = Err(error);
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
        job: &mut PendingUpload<'_, '_>,
        node: NodeId,
        mut connection: NodeConnection,
    ) -> Result<Receipt, Error> {
        let start = Instant::now();
        let sent = job.send_body(&mut connection, &mut self.buf, self.patience.body);
        job.upload.transfer = start.elapsed().saturating_sub(job.upload.held);
        let start = Instant::now();
        let deadline = start + self.patience.body;
        // A node that refuses in the middle of a body answers and closes: the answer says more than the reset.
        let response = match (connection.head(deadline), sent) {
            (Ok(response), _) => response,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        self.receipt(job, node, connection, response, start)
    }

    /// Reads the rest of the final answer to a body that was sent until `start`.
    fn receipt(
        &mut self,
        job: &mut PendingUpload<'_, '_>,
        node: NodeId,
        mut connection: NodeConnection,
        response: Response,
        start: Instant,
    ) -> Result<Receipt, Error> {
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
            _ => Err(error_of(&answered)),
        }
    }
}

impl Upload {
    fn new() -> Upload {
        Upload {
            outcome: Err(Error {
                kind: ErrorKind::Stopped,
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

impl PendingUpload<'_, '_> {
    fn begin_round(&mut self) {
        self.upload.rounds += 1;
        self.upload.accepted = None;
        self.named = None;
        let salt = balancer::hash(self.image.user(), self.image.name());
        self.wait = pause(salt ^ u64::from(self.upload.rounds));
    }

    fn note(&mut self, node: Option<NodeId>, kind: ErrorKind) {
        if self.upload.setbacks.len() < SETBACKS_MAX {
            self.upload.setbacks.push((node, kind));
        }
    }

    fn send_body(
        &mut self,
        connection: &mut NodeConnection,
        buf: &mut Vec<u8>,
        patience: Duration,
    ) -> Result<(), Error> {
        let total = self.body.bytes();
        let mut sent = 0;
        if let UploadBody::File(file, _) = &mut self.body {
            file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
        }
        while sent < total {
            let piece = match &mut self.body {
                UploadBody::Bytes(bytes) => {
                    let start = usize::try_from(sent).expect("a position in memory");
                    &bytes[start..bytes.len().min(start + PIECE_BYTES)]
                }
                UploadBody::File(file, _) => {
                    let left = usize::try_from(total - sent)
                        .unwrap_or(PIECE_BYTES)
                        .min(PIECE_BYTES);
                    let piece = make_room(buf, left);
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
                    self.upload.answered_early |= connection.has_input(hold)?;
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
