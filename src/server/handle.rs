//! One request, from its head to its answer: has the node do what is asked, and says in HTTP what came of it.

use std::io;

use super::answers;
use super::authorize::Grant;
use super::connection::Connection;
use super::download::{self, Reply, Sent};
use super::error;
use super::metrics;
use super::page;
use super::relay::{self, Passed, Relayed};
use super::request::{Action, Delete, Get, IMAGE_METHODS, Put, Request};
use super::service::Service;
use super::status;
use crate::http::answer::{Answer, CONTINUE};
use crate::http::body::Body;
use crate::http::head::Framing;
use crate::image_id::ImageId;
use crate::node::admit::{self, Admission, Admitted, Referred};
use crate::node::counters::Counters;
use crate::node::delete::{Deleted, delete};
use crate::node::error::Error;
use crate::node::find::{Found, Missing, find, tell};
use crate::node::intent;
use crate::node::list::{List, list};
use crate::node::receive::receive;
use crate::node::send::Form;
use crate::node::settle;
use crate::node::take_over;
use crate::node::transfers::TransferKind;
use crate::ticket::{Claims, Purpose};

/// What becomes of the connection.
pub(crate) enum After {
    Reuse,
    Close,
    /// Part of an answer was sent, and the rest will not come.
    Reset,
    /// The body was not read: say so, and let the client finish sending.
    Drain,
}

/// Answers a request whose body was not read yet.
pub(crate) fn handle(
    service: &Service,
    connection: &mut Connection,
    (request, grant): (&Request, &Grant),
) -> After {
    let node = &service.node;
    Counters::add(&node.counters.requests, 1);
    // Until the answer was sent: a node that leaves waits for that.
    let _transfer = transfer(&request.action).map(|kind| node.transfers.begin(kind));
    let keep_alive = request.keep_alive && !node.is_leaving();
    let mut body = RequestBody {
        content: Body::new(request.framing),
        continued: false,
    };
    // Without its folder a node knows nothing of any image: it does not send others to look for one either.
    let lost = request
        .action
        .tells_of_images()
        .then(|| node.store.check_in_place());
    // Until the answer was sent: a page takes memory until then. Nodes ask for what other nodes' clients may have.
    let listing = (matches!(request.action, Action::List(_)) && grant.claims.is_none())
        .then(|| node.listings.begin(connection.address()));
    let answer = match &request.action {
        _ if let Some(None) = listing => answers::failure(&Error::TooManyListings),
        _ if let Some(Err(lost)) = lost => answers::failure(&Error::Store(lost)),
        Action::Put(id, put) => {
            let answer = put_image(service, connection, (request, grant), (id, put), &mut body);
            connection.exchange.received = body.content.received();
            answer
        }
        Action::Get(id, get) => {
            let reusable = keep_alive && body.content.is_done();
            let reply = Reply {
                head_only: request.head_only,
                keep_alive: reusable,
            };
            match get_image(service, connection, (request, grant), (id, get), &reply) {
                Sent::Answer(answer) => Some(answer),
                Sent::Whole { .. } if reusable => return After::Reuse,
                Sent::Whole { .. } if connection.socket.has_input() => return After::Drain,
                Sent::Whole { .. } => return After::Close,
                Sent::Cut => return After::Reset,
            }
        }
        Action::Delete(id, wanted) => {
            match delete_image(service, connection, (request, grant), (id, wanted)) {
                Sent::Answer(answer) => Some(answer),
                Sent::Whole { .. } | Sent::Cut => None,
            }
        }
        Action::Holding(id) => holding(service, id),
        Action::Note(id) => note_intent(service, id, grant.claims),
        Action::List(wanted) => list_images(service, request, wanted),
        Action::Cluster => Some(status::cluster(service, grant.is_whole)),
        Action::Survey => Some(status::survey(service, grant.is_whole)),
        Action::Healthz => Some(status::healthz()),
        Action::Readyz => Some(status::readyz(service)),
        Action::Metrics => Some(metrics::metrics(service)),
        Action::Index(as_page) => Some(match as_page {
            true => page::answer(service),
            false => status::index(service),
        }),
        Action::Rebalance => rebalance(service),
    };
    let Some(answer) = answer else {
        return After::Close;
    };
    // A connection may go on after a body that was not read only if that body will not come.
    let read = body.content.is_done() || (request.offer && !body.continued);
    match respond(service, connection, answer, keep_alive && read, request.head_only) {
        Err(_) => After::Close,
        Ok(()) if keep_alive && read => After::Reuse,
        // Closing on unread bytes resets the connection, and the answer may be lost with it.
        Ok(()) if !read || connection.socket.has_input() => After::Drain,
        Ok(()) => After::Close,
    }
}

/// What a node that leaves waits for.
fn transfer(action: &Action) -> Option<TransferKind> {
    match action {
        Action::Put(..) => Some(TransferKind::Upload),
        Action::Get(..) => Some(TransferKind::Download),
        Action::Delete(..) => Some(TransferKind::Delete),
        Action::List(_) => Some(TransferKind::Listing),
        Action::Holding(_)
        | Action::Note(..)
        | Action::Cluster
        | Action::Survey
        | Action::Healthz
        | Action::Readyz
        | Action::Metrics
        | Action::Rebalance
        | Action::Index(_) => None,
    }
}

/// Sends an answer and counts it.
pub(crate) fn respond(
    service: &Service,
    connection: &mut Connection,
    answer: Answer,
    keep_alive: bool,
    head_only: bool,
) -> io::Result<()> {
    let counters = &service.node.counters;
    match answer.status.0 {
        400..=499 => Counters::add(&counters.answers_4xx, 1),
        500..=599 => Counters::add(&counters.answers_5xx, 1),
        _ => {}
    }
    connection.exchange.answer(&answer, head_only);
    let mut out = std::mem::take(&mut connection.outbox);
    out.clear();
    answers::dated(answer).encode(&mut out, keep_alive, head_only);
    let sent = connection.socket.write_all(&out);
    connection.outbox = out;
    if let Err(error) = &sent {
        connection
            .exchange
            .cut(&format!("the answer was not taken: {error}"));
    }
    sent
}

/// The body of a request, and whether the client was told to go on and send it.
struct RequestBody {
    content: Body,
    continued: bool,
}

/// `None`: the client is gone.
fn put_image(
    service: &Service,
    connection: &mut Connection,
    (request, grant): (&Request, &Grant),
    (id, put): (&ImageId, &Put),
    body: &mut RequestBody,
) -> Option<Answer> {
    let node = &service.node;
    let length = match request.framing {
        Framing::Length(length) => Some(length),
        Framing::None | Framing::Chunked => None,
    };
    let referral = grant.claims;
    if let Some(claims) = referral.filter(|claims| !claims.purpose.is_redirect()) {
        let Some(sealed_bytes) = length else {
            return Some(answers::refusal(&error::Error::CopyLength));
        };
        let copy = (&claims, sealed_bytes);
        return take_over_image(service, connection, request, (id, copy), body);
    }
    let put = admit::Offer {
        referral,
        conditions: put.conditions.clone(),
        digest: put.digest,
    };
    match admit::admit(node, id, &put, length) {
        Err(error) => answers::failure(&error),
        Ok(Admission::At(referred)) => {
            let upload = Some((&mut body.content, &mut body.continued));
            let way = (referred, ("PUT", id, ""));
            match refer(service, connection, (request, grant), way, upload) {
                Sent::Answer(answer) => Some(answer),
                Sent::Whole { .. } | Sent::Cut => None,
            }
        }
        Ok(Admission::Here(admitted)) => {
            body.continued = request.expects_continue;
            if body.continued && connection.socket.write_all(CONTINUE).is_err() {
                return None;
            }
            take_in(service, connection, &mut body.content, id, (&put, admitted))
        }
    }
}

/// A copy, or an upload, from another node.
fn take_over_image(
    service: &Service,
    connection: &mut Connection,
    request: &Request,
    (id, copy): (&ImageId, (&Claims, u64)),
    body: &mut RequestBody,
) -> Option<Answer> {
    let node = &service.node;
    let draft = match take_over::admit(node, id, copy.1) {
        Ok(draft) => draft,
        Err(error) => return answers::failure(&error),
    };
    body.continued = request.expects_continue;
    if body.continued && connection.socket.write_all(CONTINUE).is_err() {
        return None;
    }
    let source = (&mut connection.socket, &mut body.content);
    match take_over::image(node, source, id, copy, draft) {
        Ok(outcome) => Some(answers::taken_over(outcome)),
        Err(error) => answers::failure(&error),
    }
}

fn take_in(
    service: &Service,
    connection: &mut Connection,
    body: &mut Body,
    id: &ImageId,
    upload: (&admit::Offer, Admitted),
) -> Option<Answer> {
    let node = &service.node;
    match receive(node, &mut connection.socket, body, id, upload) {
        Ok(receipt) => {
            connection.exchange.node = Some(receipt.node);
            Some(answers::receipt(&receipt))
        }
        Err(Error::Lost(why)) => {
            log::info!("Node {}: Upload of {id} lost: {why}", node.id);
            connection.exchange.cut(&why);
            None
        }
        Err(error) => {
            let answer = answers::failure(&error)?;
            log::info!("Node {}: Upload of {id} refused ({})", node.id, answer.status.0);
            Some(answer)
        }
    }
}

fn get_image(
    service: &Service,
    connection: &mut Connection,
    (request, grant): (&Request, &Grant),
    (id, get): (&ImageId, &Get),
    reply: &Reply,
) -> Sent {
    match find(&service.node, id, get.reach, grant.claims.as_ref()) {
        Ok(Found::Here(sealed)) => {
            let sent = download::send(service, &mut connection.socket, (id, sealed), get, reply);
            note(connection, &sent);
            sent
        }
        Ok(Found::At(referred)) => {
            let query = match get.form {
                Form::Image => "",
                Form::Sealed => "&sealed",
            };
            let method = if reply.head_only { "HEAD" } else { "GET" };
            let way = (referred, (method, id, query));
            refer(service, connection, (request, grant), way, None)
        }
        Ok(Found::Missing(missing)) => Sent::Answer(answers::missing(&missing)),
        Err(error) => failed(&error),
    }
}

fn delete_image(
    service: &Service,
    connection: &mut Connection,
    (request, grant): (&Request, &Grant),
    (id, wanted): (&ImageId, &Delete),
) -> Sent {
    let node = &service.node;
    let referral = grant.claims;
    if let Some(claims) = referral.filter(|claims| claims.purpose == Purpose::HandOver) {
        return match take_over::tombstone(node, id, claims.version) {
            Ok(outcome) => Sent::Answer(answers::taken_over(outcome)),
            Err(error) => failed(&error),
        };
    }
    match delete(node, id, &wanted.conditions, referral.as_ref()) {
        Ok(Deleted::Gone) => Sent::Answer(answers::deleted()),
        Ok(Deleted::At(referred)) => {
            let way = (referred, ("DELETE", id, ""));
            refer(service, connection, (request, grant), way, None)
        }
        Ok(Deleted::Missing) => Sent::Answer(answers::missing(&Missing::Everywhere)),
        Err(error) => failed(&error),
    }
}

/// Notes what has gone out already.
fn note(connection: &mut Connection, sent: &Sent) {
    match sent {
        Sent::Answer(_) => {}
        Sent::Whole { status, bytes } => connection.exchange.went(*status, *bytes),
        Sent::Cut => connection.exchange.cut("not all of the answer went out"),
    }
}

fn failed(error: &Error) -> Sent {
    answers::failure(error).map_or(Sent::Cut, Sent::Answer)
}

/// Sends the client to the node that has or takes the image, or passes the request on to it. Given are method, image, and what
/// the query goes on with. A client that offers an image to all nodes is always sent there: it would seem to be taken twice.
fn refer(
    service: &Service,
    connection: &mut Connection,
    (request, grant): (&Request, &Grant),
    (referred, (method, id, query)): (Referred, (&'static str, &ImageId, &str)),
    upload: Option<(&mut Body, &mut bool)>,
) -> Sent {
    let node = &service.node;
    // A ticket for GET is one for HEAD.
    let (scope, text) = match method {
        "GET" | "HEAD" => (("GET", id), format!("Held by Node {}", referred.to)),
        _ => ((method, id), format!("Request assigned to Node {}", referred.to)),
    };
    connection.exchange.node = Some(referred.to);
    let referral = (referred, grant.is_authorized);
    if !(service.relays_all || request.relay) || grant.claims.is_some() || request.offer {
        return Sent::Answer(answers::redirect(node, referral, scope, query, text));
    }
    log::info!(
        "Node {}: Passing a {method} of {id} on to Node {}",
        node.id,
        referred.to
    );
    let passed = Passed {
        to: referred.to,
        method,
        target: answers::referred_target(node, referral, scope, query),
        fields: &request.passed_on,
        head_only: request.head_only,
        keep_alive: request.keep_alive && !node.is_leaving(),
    };
    let relayed = match upload {
        Some((content, continued)) => {
            let body = (content, request.framing, request.expects_continue);
            relay::upload(service, connection, &passed, body, continued)
        }
        None => relay::ask(service, connection, &passed),
    };
    connection.exchange.is_passed_on = true;
    let sent = match relayed {
        Relayed::Answer(answer) => Sent::Answer(answer),
        Relayed::Sent { status, bytes } => Sent::Whole { status, bytes },
        Relayed::Cut => Sent::Cut,
        Relayed::Moved => failed(&Error::Disagreement),
    };
    note(connection, &sent);
    sent
}

fn rebalance(service: &Service) -> Option<Answer> {
    match settle::rebalance(&service.node) {
        Ok(rebalance) => Some(answers::rebalance(&rebalance)),
        Err(error) => answers::failure(&error),
    }
}

fn holding(service: &Service, id: &ImageId) -> Option<Answer> {
    match tell(&service.node, id) {
        Ok(holding) => Some(answers::holding(&holding)),
        Err(error) => answers::failure(&error),
    }
}

fn note_intent(service: &Service, id: &ImageId, claims: Option<Claims>) -> Option<Answer> {
    let Some(claims) = claims.filter(|claims| claims.purpose == Purpose::Intent) else {
        return Some(answers::refusal(&error::Error::Method(IMAGE_METHODS)));
    };
    match intent::note(&service.node, id, &claims) {
        Ok(noted) => Some(answers::noted(&noted)),
        Err(error) => answers::failure(&error),
    }
}

fn list_images(service: &Service, request: &Request, wanted: &List) -> Option<Answer> {
    match list(&service.node, wanted) {
        Ok(page) if request.as_html => Some(answers::html_page(&page, wanted)),
        Ok(page) => Some(answers::page(&page)),
        Err(error) => answers::failure(&error),
    }
}
