//! What a worker does with a connection: request after request, until it has nothing to read, misbehaves or ends.

#![allow(clippy::disallowed_methods, reason = "the clock of a request that begins")]

use std::io;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::answers;
use super::authorize::{self, Grant};
use super::connection::Connection;
use super::error::Error;
use super::exchange::{self, Exchange};
use super::handle::{After, handle, respond};
use super::relay;
use super::request::{self, Request};
use super::service::Service;
use crate::http::head::{self, Head, Method};
use crate::http::target::Target;
use crate::socket::is_stall;
use crate::tls;

/// Serves a connection. `queue` tells whether others wait for a worker.
pub(crate) fn serve(service: &Service, mut connection: Connection, queue: &Receiver<Connection>) {
    loop {
        // Waits for this client's next request only while no other client waits for a worker.
        let do_others_wait = || !queue.is_empty() || service.do_others_wait();
        let wait = !do_others_wait() && !service.is_closed();
        match next_request(service, &mut connection, wait) {
            Next::Request(request, grant) => {
                let after = handle(service, &mut connection, (&request, &grant));
                exchange::finish(service, &mut connection, Some((&request, grant.claims.as_ref())));
                match after {
                    After::Reuse if !service.is_closed() && do_others_wait() => {
                        return service.acceptor.yield_worker(connection);
                    }
                    After::Reuse if !service.is_closed() => {}
                    After::Reuse | After::Close => return,
                    After::Reset => return connection.socket.reset(),
                    After::Drain => return service.acceptor.drain(connection),
                }
            }
            Next::Quiet => return service.acceptor.park(connection),
            Next::Refused(error, head_only) => {
                let answer = answers::refusal(&error);
                let sent = respond(service, &mut connection, answer, false, head_only);
                exchange::finish(service, &mut connection, None);
                if sent.is_ok() {
                    service.acceptor.drain(connection);
                }
                return;
            }
            // It may have been told why.
            Next::Broken => return service.acceptor.drain(connection),
            Next::Ended => return,
        }
    }
}

enum Next {
    Request(Box<Request>, Box<Grant>),
    /// No complete head yet.
    Quiet,
    /// Not understood or not let in; `true`: the answer goes without its content.
    Refused(Error, bool),
    /// What arrived is no TLS, or not as this node demands.
    Broken,
    Ended,
}

fn next_request(service: &Service, connection: &mut Connection, wait: bool) -> Next {
    loop {
        match head::parse(connection.socket.inbox.unread()) {
            Err(error) => {
                connection.begin_exchange();
                return Next::Refused(Error::Head(error), false);
            }
            Ok(Some((head, length))) => {
                let begun = connection.head_since.take().unwrap_or_else(Instant::now);
                let (request, head_only) = (understand(service, &head), head.method == Method::Head);
                let mut exchange = Exchange::begin(begun);
                if request.is_err() {
                    exchange.note_unread(&head);
                }
                connection.socket.inbox.consume(length);
                connection.exchange = exchange;
                return match request {
                    Ok((request, grant)) => Next::Request(Box::new(request), Box::new(grant)),
                    Err(error) => Next::Refused(error, head_only),
                };
            }
            Ok(None) => {}
        }
        if connection.is_head_late() {
            connection.begin_exchange();
            return Next::Refused(Error::HeadTooSlow, false);
        }
        match connection.socket.fill(wait) {
            Ok(0) => return Next::Ended,
            Ok(_) => {}
            Err(e) if is_stall(&e) => return Next::Quiet,
            Err(e) if tls::is_plain_http(&e) => {
                connection.socket.give_up_tls();
                connection.begin_exchange();
                return Next::Refused(Error::PlainHttp, false);
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                log::debug!("a TLS session with {} ended: {e}", connection.socket.client());
                return Next::Broken;
            }
            Err(_) => return Next::Ended,
        }
    }
}

/// Whether it is let in, what is asked, and whether that may be done.
fn understand(service: &Service, head: &Head<'_>) -> Result<(Request, Grant), Error> {
    let target = Target::parse(head.target).map_err(|why| Error::Target(why.0))?;
    service
        .gate
        .load()
        .admit(head, target.authority, &target.segments)?;
    let mut request = request::understand(head, &target)?;
    if service.relays_all || request.relay {
        request.passed_on = relay::fields(head);
    }
    let node = &service.node;
    let claims = request.ticket.as_deref().and_then(|ticket| {
        let scope = authorize::scope(&request.action)?;
        node.tickets.verify(ticket, node.id, scope, node.ticket_ms())
    });
    let authorization = head.fields.bytes("authorization");
    let access = service.access.load();
    let grant = access.authorize(&request, claims, authorization, node.wall_ms())?;
    Ok((request, grant))
}
