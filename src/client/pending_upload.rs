//! One image while it is being uploaded: sending its body to a node and reading the receipt.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use super::ask::Answered;
use super::backoff;
use super::connection::NodeConnection;
use super::error::{Error, ErrorKind};
use super::nodes::Nodes;
use super::upload::{Audience, PIECE_BYTES, Terms, Upload, UploadBody, make_room, unreadable};
use crate::balancer;
use crate::http::response::Response;
use crate::image_id::ImageId;
use crate::report::Receipt;
use crate::roster::NodeId;

/// The largest image that the node to which it is assigned is sent without being offered it first: for small images an
/// offer costs more than an upload in vain now and then (docs/measurements.md).
const EAGER_BYTES_MAX: u64 = 64 << 10;
/// The longest answer to an offer or an upload, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How many setbacks of one image are kept.
const SETBACKS_MAX: usize = 64;

pub(super) struct PendingUpload<'c, 'a, 'b> {
    pub(super) nodes: &'c mut Nodes,
    /// Where pieces of files are read.
    pub(super) buf: &'c mut Vec<u8>,
    pub(super) started: Instant,
    pub(super) image: &'a ImageId,
    pub(super) target: String,
    pub(super) fields: String,
    pub(super) body: UploadBody<'b>,
    pub(super) terms: Terms<'a>,
    pub(super) upload: Upload,
    /// The node that another one has named in this round, and the target to ask it for.
    pub(super) named: Option<(NodeId, String)>,
    /// How long to wait before the next round.
    pub(super) wait: Duration,
    /// In this round, a node was not who it should be: asking again would not help.
    pub(super) untrusted: Option<Error>,
}

impl<'c, 'a, 'b> PendingUpload<'c, 'a, 'b> {
    pub(super) fn new(
        nodes: &'c mut Nodes,
        buf: &'c mut Vec<u8>,
        image: &'a ImageId,
        body: UploadBody<'b>,
        terms: Terms<'a>,
    ) -> PendingUpload<'c, 'a, 'b> {
        let condition = if nodes.only_new {
            "If-None-Match: *\r\n"
        } else {
            ""
        };
        let fields = format!(
            "Content-Length: {}\r\nContent-Type: image/png\r\n{condition}",
            body.bytes()
        );
        PendingUpload {
            nodes,
            buf,
            started: Instant::now(),
            image,
            target: image.target(),
            fields,
            body,
            terms,
            upload: Upload::new(),
            named: None,
            wait: Duration::ZERO,
            untrusted: None,
        }
    }

    pub(super) fn begin_round(&mut self) {
        self.upload.rounds += 1;
        self.upload.accepted = None;
        self.named = None;
        self.untrusted = None;
        let salt = balancer::hash(self.image.user(), self.image.name());
        self.wait = backoff::pause(salt ^ u64::from(self.upload.rounds));
    }

    /// Whether this node is sent the image together with its head, without waiting for `100 Continue`. If others are
    /// offered it as well, only once: should the node not answer in time, it is asked first whether it is there.
    pub(super) fn is_eager(&self, node: NodeId) -> bool {
        let is_small = self.terms.hold.is_none() && self.body.bytes() <= EAGER_BYTES_MAX;
        is_small
            && match self.terms.audience {
                Audience::Assigned => true,
                Audience::All => self.upload.rounds == 1 && node == self.assigned(),
            }
    }

    /// To whom the image belongs, as far as is known here.
    pub(super) fn assigned(&self) -> NodeId {
        balancer::assigned(self.image.user(), self.image.name(), &self.nodes.alive)
    }

    pub(super) fn note(&mut self, node: Option<NodeId>, kind: ErrorKind) {
        if self.upload.setbacks.len() < SETBACKS_MAX {
            self.upload.setbacks.push((node, kind));
        }
    }

    /// Sends the body and reads the receipt.
    pub(super) fn deliver(&mut self, node: NodeId, mut connection: NodeConnection) -> Result<Receipt, Error> {
        let start = Instant::now();
        let sent = self.send_body(&mut connection);
        self.upload.transfer = start.elapsed().saturating_sub(self.upload.held);
        let start = Instant::now();
        let deadline = start + self.nodes.patience.body;
        // A node that refuses in the middle of a body answers and closes: the answer says more than the reset.
        let response = match (connection.head(deadline), sent) {
            (Ok(response), _) => response,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        self.receipt(node, connection, response, start)
    }

    /// Reads the rest of the final answer to a body that was sent until `start`.
    pub(super) fn receipt(
        &mut self,

        node: NodeId,
        mut connection: NodeConnection,
        response: Response,
        start: Instant,
    ) -> Result<Receipt, Error> {
        let deadline = start + self.nodes.patience.body;
        let content = connection.read_all(&response, ANSWER_BYTES_MAX, deadline)?;
        self.upload.receipt = start.elapsed();
        self.upload.elapsed = self.started.elapsed();
        self.nodes.keep(node, connection, &response);
        let answered = Answered {
            node,
            response,
            content,
        };
        match answered.response.status {
            200 | 201 => answered.json(),
            _ => Err(answered.error()),
        }
    }

    fn send_body(&mut self, connection: &mut NodeConnection) -> Result<(), Error> {
        let patience = self.nodes.patience.body;
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
                    let piece = make_room(self.buf, left);
                    let count = file.read(piece).map_err(|e| unreadable(&e))?;
                    if count == 0 {
                        return Err(unreadable(&io::ErrorKind::UnexpectedEof.into()));
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
                    self.upload.answered_early |= connection.has_answer(hold);
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
