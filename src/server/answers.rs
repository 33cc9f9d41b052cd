//! The one table of statuses: what came of a request → what the client is told.

use std::fmt::Display;

use super::connection::HEAD_TIME_MAX;
use super::error::{Credential, Error};
use super::html;
use crate::client;
use crate::condition::Condition;
use crate::http::answer::Answer;
use crate::http::head;
use crate::image;
use crate::image_id::ImageId;
use crate::node;
use crate::node::admit::Referred;
use crate::node::find::Missing;
use crate::node::list::List;
use crate::node::shared::Node;
use crate::report::{Holding, Noted, Page, Rebalance, Receipt, TakenOver};
use crate::roster::NodeId;
use crate::socket;
use crate::store;
use crate::ticket::{Claims, LIFETIME_MS, Purpose, Scope};
use crate::version::{Version, WriteOutcome};

/// What most receipts take.
const RECEIPT_BYTES: usize = 512;

/// 201 for a new name, 200 for one that was taken.
pub(crate) fn receipt(receipt: &Receipt) -> Answer {
    let mut json = Vec::with_capacity(RECEIPT_BYTES);
    serde_json::to_writer(&mut json, receipt).expect("a receipt has only plain fields");
    let status = if receipt.replaced { 200 } else { 201 };
    Answer::json(status, json).field("ETag", &receipt.etag)
}

/// 307: another node has or takes the image. `query` goes on with `&`. With the ticket goes the right to do it there: a
/// client that follows leaves its token behind.
pub(crate) fn redirect(
    node: &Node,
    (referred, is_authorized): (Referred, bool),
    (method, id): (&str, &ImageId),
    query: &str,
    text: impl Display,
) -> Answer {
    let members = node.members();
    let base = members.base_url(referred.to, node.scheme()).unwrap_or_default();
    let path = referred_target(node, (referred, is_authorized), (method, id), query);
    Answer::text(307, text).field("Location", format_args!("{base}{path}"))
}

/// Path and query by which another node is asked, with a ticket.
pub(crate) fn referred_target(
    node: &Node,
    (referred, is_authorized): (Referred, bool),
    (method, id): (&str, &ImageId),
    query: &str,
) -> String {
    let Referred { to, view, hops } = referred;
    let claims = Claims {
        purpose: match is_authorized {
            true => Purpose::AuthorizedRedirect,
            false => Purpose::Redirect,
        },
        node: to,
        view,
        hops,
        expiry_ms: node.ticket_ms() + LIFETIME_MS,
        version: Version::default(),
    };
    let ticket = node.tickets.sign(&claims, Scope::image(method, id));
    [&id.target(), "?ticket=", &ticket, query].concat()
}

/// 503: too many requests are passed on to other nodes.
pub(crate) fn relays_busy() -> Answer {
    busy("Too many requests are passed on to other nodes at the moment.")
}

/// 503: the node that has or takes the image did not answer; nothing was changed.
pub(crate) fn unreachable(node: NodeId, error: &client::error::Error) -> Answer {
    log::debug!("a request could not be passed on: {error}");
    busy(format_args!(
        "Node {node}, which has or takes this image, does not answer; nothing was changed."
    ))
}

/// 504: the node that takes the image was sent all of it, and has not answered.
pub(crate) fn relay_unknown(node: NodeId) -> Answer {
    Answer::text(
        504,
        format_args!(
            "Node {node} was sent the image and has not answered: it may have it or not. Ask again."
        ),
    )
}

/// What a client is told whose upload could not be read; `None` if it is gone.
pub(crate) fn not_received(error: &std::io::Error) -> Option<Answer> {
    match socket::is_too_slow(error) {
        true => failure(&node::error::Error::Slow),
        false => None,
    }
}

/// 412, RFC 9110 section 13.
pub(crate) fn precondition_failed() -> Answer {
    Answer::text(
        412,
        "The image is not as the request demands (If-Match, If-None-Match, If-Unmodified-Since); nothing was changed.",
    )
}

/// 200: what is here of a name.
pub(crate) fn holding(holding: &Holding) -> Answer {
    let json = serde_json::to_vec(holding).expect("a holding has only plain fields");
    Answer::json(200, json)
}

/// 200: what another node is about to write was noted.
pub(crate) fn noted(noted: &Noted) -> Answer {
    let json = serde_json::to_vec(noted).expect("it has only plain fields");
    Answer::json(200, json)
}

/// 200: a copy was taken over, or a newer one is here.
pub(crate) fn taken_over(outcome: WriteOutcome) -> Answer {
    let json = serde_json::to_vec(&TakenOver { outcome }).expect("an outcome has only plain fields");
    Answer::json(200, json)
}

/// 202: what is misplaced is on its way.
pub(crate) fn rebalance(rebalance: &Rebalance) -> Answer {
    let json = serde_json::to_vec(rebalance).expect("it has only plain fields");
    Answer::json(202, json)
}

/// 204: the image is gone.
pub(crate) fn deleted() -> Answer {
    Answer::empty(204)
}

/// 200, with a page of a listing.
pub(crate) fn page(page: &Page) -> Answer {
    let json = serde_json::to_vec(page).expect("a page has only plain fields");
    Answer::json(200, json).field("Vary", "Accept")
}

/// The same to look at.
pub(crate) fn html_page(page: &Page, list: &List) -> Answer {
    Answer::empty(200)
        .content("text/html; charset=utf-8", html::page(page, list))
        .field("Vary", "Accept")
        .field("Cache-Control", "private")
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", html::policy())
}

/// 404, or 503 if the image may be on a node that could not be asked.
pub(crate) fn missing(missing: &Missing) -> Answer {
    match missing {
        Missing::Here => Answer::text(404, "This node does not hold it."),
        Missing::Everywhere => Answer::text(404, "No node holds an image of this name."),
        Missing::Unknown(silent) => {
            let names: Vec<String> = silent.iter().map(|id| format!("Node {id}")).collect();
            match names.len() {
                0 => busy("The nodes see different clusters at the moment."),
                _ => busy(format_args!(
                    "{} could not be asked, and may hold what counts.",
                    names.join(", ")
                )),
            }
        }
    }
}

/// 401, RFC 6750 section 3.
fn unauthorized(challenge: &str, text: &str) -> Answer {
    Answer::text(401, text).field("WWW-Authenticate", challenge)
}

/// A request that is refused before the node is asked.
pub(crate) fn refusal(error: &Error) -> Answer {
    match error {
        Error::Head(error) => head_refusal(*error),
        Error::HeadTooSlow => Answer::text(
            408,
            format_args!("The head took over {} s.", HEAD_TIME_MAX.as_secs()),
        ),
        Error::PlainHttp => Answer::text(
            400,
            "This node speaks TLS: use https://, and our programs with --ca FILE.",
        ),
        Error::Target(why) => Answer::text(400, format_args!("{why}.")),
        Error::Host => Answer::text(421, "This node does not answer for that host."),
        Error::Origin => Answer::text(403, "Pages of other sites cannot write here."),
        Error::Unauthorized(Credential::None) => unauthorized(
            "Bearer realm=\"pixseal\"",
            "This needs a token: send Authorization: Bearer TOKEN. Whoever runs this cluster makes one with: seal token add USER",
        ),
        Error::Unauthorized(Credential::Bad) => unauthorized(
            "Bearer realm=\"pixseal\", error=\"invalid_token\"",
            "This token is not known here, was revoked or has expired.",
        ),
        Error::Forbidden => Answer::text(403, "Your token does not allow this.").field(
            "WWW-Authenticate",
            "Bearer realm=\"pixseal\", error=\"insufficient_scope\"",
        ),
        Error::TooManyRequests => Answer::text(
            429,
            "Your token is used more often than it may be (--token-rate).",
        )
        .field("Retry-After", 1),
        Error::MethodUnknown => Answer::text(501, "This server knows GET, HEAD, PUT and DELETE."),
        Error::Method(allowed) => {
            Answer::text(405, format_args!("Allowed here: {allowed}.")).field("Allow", allowed)
        }
        Error::Path => Answer::text(404, "Nothing here. Images are at /images/{user}/{name}."),
        Error::Name(why) => Answer::text(400, why),
        Error::LengthMissing => Answer::text(
            411,
            "An upload says how long it is (Content-Length) or is chunked.",
        ),
        Error::ContentEncoding => {
            Answer::text(415, "Images are taken as they are, without Content-Encoding.")
        }
        Error::ContentRange => Answer::text(400, "An image is uploaded whole: Content-Range is not taken."),
        Error::EntityTag => Answer::text(
            400,
            "If-Match and If-None-Match are * or a list of entity tags, each in quotes.",
        ),
        Error::LocalDelete => Answer::text(
            400,
            "?local is for reading: a delete removes the image from the whole cluster.",
        ),
        Error::CopyLength => Answer::text(411, "A copy says how long it is (Content-Length)."),
        Error::ContentDigest => Answer::text(
            400,
            "Content-Digest is written sha-256=:BASE64:, with 32 bytes in it.",
        ),
        Error::Limit(max) => Answer::text(400, format_args!("limit is 1 to {max}.")),
        Error::ConnectionQuota => busy("Too many connections are open."),
        Error::WorkerQuota => busy("Others wait for a worker as well."),
        Error::QueueFull => busy("All workers are busy."),
        Error::NotReady(why) => busy(why),
    }
}

fn head_refusal(error: head::Error) -> Answer {
    match error {
        head::Error::Malformed(why) => Answer::text(400, format_args!("Malformed request: {why}.")),
        head::Error::TargetTooLong => Answer::text(414, "The request line is too long."),
        head::Error::Expectation => Answer::text(417, "The only expectation met here is 100-continue."),
        head::Error::TooLarge => Answer::text(431, "The head of the request is too large."),
        head::Error::Coding => Answer::text(501, "The only transfer coding taken here is chunked."),
        head::Error::Version => Answer::text(505, "This server speaks HTTP/1.1 and HTTP/1.0."),
    }
}

/// What the node could not do. Nothing is said to a client that is gone.
pub(crate) fn failure(error: &node::error::Error) -> Option<Answer> {
    use node::error::Error;
    Some(match error {
        Error::Lost(_) => return None,
        Error::Precondition => precondition_failed(),
        Error::Unknown(nodes) => missing(&Missing::Unknown(nodes.clone())),
        Error::NotReady => busy("The nodes have not agreed on a leader yet."),
        Error::Away(nodes) => {
            let names: Vec<String> = nodes.iter().map(|id| format!("Node {id}")).collect();
            busy(format_args!(
                "{} away: images are moved only while all members are there.",
                match &names[..] {
                    [one] => format!("{one} is"),
                    _ => format!("{} are", names.join(", ")),
                }
            ))
        }
        Error::NotPlaced => busy("No node takes this image at the moment; nothing was changed."),
        Error::Unconfirmed => Answer::text(
            504,
            "The other nodes have not confirmed this in time: it may be done or not. Ask again.",
        ),
        Error::TooManyListings => busy("Too many listings are made at the moment."),
        Error::Disagreement => busy("The nodes see different clusters at the moment."),
        Error::Unable(Condition::DiskFull, why) => Answer::text(507, format_args!("This node {why}.")),
        Error::Unable(_, why) => busy(format_args!("This node {why}.")),
        Error::Leaving => busy("This node is leaving."),
        Error::TooLarge(max) => Answer::text(
            413,
            format_args!("An image has at most {max} bytes here (--body-max, or ulimit -f)."),
        ),
        Error::Image(refusal) => {
            let status = match refusal {
                image::Error::NotPng => 415,
                image::Error::Empty | image::Error::Broken(_) | image::Error::Odd(_) => 422,
                image::Error::TooManyPixels { .. } => 413,
            };
            Answer::text(status, format_args!("{refusal}; nothing was kept."))
        }
        Error::Body(why) => Answer::text(400, format_args!("Malformed body: {why}.")),
        Error::Digest => Answer::text(
            400,
            "The image does not have the Content-Digest that came with it; nothing was kept.",
        ),
        Error::Slow => Answer::text(408, "The upload is slower than 1 kB/s."),
        Error::Stalled => busy("Too many uploads have stalled, and this one for longest."),
        Error::Random(why) => Answer::text(500, format_args!("No random numbers: {why}")),
        Error::Damaged => Answer::text(
            500,
            "The stored image is damaged, or was sealed with a key that this node does not have.",
        ),
        Error::Store(error) => store_failure(error),
    })
}

fn store_failure(error: &store::error::Error) -> Answer {
    match error {
        store::error::Error::Lost(text) => busy(format_args!("This node does not have its images: {text}.")),
        store::error::Error::Full(_) => Answer::text(507, "The disk is full; nothing was kept."),
        store::error::Error::OverQuota(_) => Answer::text(
            507,
            format_args!("No room for it: {error}; nothing was kept. Delete some, or send a smaller one."),
        ),
        store::error::Error::TooLong(_) => Answer::text(
            507,
            "The sealed file would be longer than this node may write (ulimit -f); nothing was kept.",
        ),
        store::error::Error::ReadOnly(text) => {
            log::error!("{text}");
            busy("The disk of this node can only be read at the moment.")
        }
        store::error::Error::Exhausted(_) => busy("Too many files and connections are open."),
        store::error::Error::Taken => Answer::text(412, "An image of this name exists."),
        store::error::Error::Changed => busy("The image has changed meanwhile."),
        store::error::Error::Unsynced(text) => {
            log::error!("{text}");
            Answer::text(
                500,
                "The disk did not confirm the change: it may be kept or not. Ask again.",
            )
        }
        store::error::Error::Failing(text) | store::error::Error::Io(text) => {
            log::error!("{text}");
            Answer::text(500, "The images folder cannot be used: see this node's log.")
        }
    }
}

/// 503: come back in a second.
fn busy(why: impl Display) -> Answer {
    Answer::text(503, why).field("Retry-After", 1)
}

/// RFC 9110 section 6.6.1: a server with a clock says when it answered.
#[allow(
    clippy::disallowed_methods,
    reason = "the edge tells the time to the rooms that must not look"
)]
pub(crate) fn dated(answer: Answer) -> Answer {
    answer.field("Date", httpdate::HttpDate::from(std::time::SystemTime::now()))
}
