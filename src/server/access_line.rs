//! The line about a request that is over: when, who, what, what came of it, how many bytes and how long.
//!
//! ```text
//! Node 1: 2026-12-01T01:15:50.123Z 127.0.0.1 PUT alice/cat.png 201, 40213 in, 312 out, 4.1 ms, stored on node 1
//! ```
//!
//! At `info`: uploads, downloads, deletes and lists that are over, what was passed on, and every refusal. At `debug`: what was
//! sent to another node, which has a line of its own by then, what nodes ask each other, and what watches ask.

use std::borrow::Cow;
use std::time::Duration;

use log::Level;

use super::connection::Connection;
use super::exchange::Exchange;
use super::request::{Action, Request};
use super::service::Service;
use super::traffic::{Ending, Kind};
use crate::timestamp::Timestamp;

/// What of the answer is told as the reason of a refusal, at most.
const REASON_CHARS_MAX: usize = 200;

pub(super) fn tell(
    service: &Service,
    connection: &Connection,
    (exchange, request): (&Exchange, Option<&Request>),
    (kind, ending): (Kind, Ending),
    took: Duration,
) {
    let level = level((kind, ending), request.is_some(), exchange.is_passed_on);
    if level > log::max_level() {
        return;
    }
    let node = &service.node;
    let client = connection.socket.client();
    let (method, what) = request.map_or_else(|| exchange.unread(), described);
    let (status, received, sent) = (exchange.status(), exchange.received, exchange.sent());
    let ms = took.as_secs_f64() * 1000.0;
    let outcome = outcome(exchange, ending);
    let time = Timestamp(node.wall_ms());
    log::log!(
        level, client:display, method, what:display, status, received, sent, ms, outcome:display;
        "Node {}: {time} {client} {method} {what} {status}, {received} in, {sent} out, {ms:.1} ms{}{outcome}",
        node.id,
        if outcome.is_empty() { "" } else { ", " },
    );
}

fn level((kind, ending): (Kind, Ending), is_understood: bool, is_passed_on: bool) -> Level {
    match (kind, ending) {
        (Kind::Other, _) if !is_understood => Level::Info,
        (Kind::Other | Kind::Peer, _) => Level::Debug,
        (_, Ending::Elsewhere) if !is_passed_on => Level::Debug,
        _ => Level::Info,
    }
}

/// Method, and user and name or the path.
fn described(request: &Request) -> (&'static str, Cow<'static, str>) {
    let reading = if request.head_only { "HEAD" } else { "GET" };
    match &request.action {
        Action::Put(id, _) => ("PUT", id.to_string().into()),
        Action::Get(id, _) | Action::Holding(id) => (reading, id.to_string().into()),
        Action::Delete(id, _) => ("DELETE", id.to_string().into()),
        Action::Note(id) => ("POST", id.to_string().into()),
        Action::List(list) => (reading, format!("{}/", list.user).into()),
        Action::Cluster | Action::Survey => (reading, "/cluster".into()),
        Action::Healthz => (reading, "/healthz".into()),
        Action::Readyz => (reading, "/readyz".into()),
        Action::Metrics => (reading, "/metrics".into()),
        Action::Index(_) => (reading, "/".into()),
        Action::Rebalance => ("POST", "/rebalance".into()),
    }
}

fn outcome(exchange: &Exchange, ending: Ending) -> Cow<'_, str> {
    match (ending, exchange.node) {
        (Ending::Done, Some(node)) => format!("stored on node {node}").into(),
        (Ending::Done, None) => "".into(),
        (Ending::Elsewhere, Some(node)) if exchange.is_passed_on => {
            format!("passed on to node {node}").into()
        }
        (Ending::Elsewhere, Some(node)) => format!("sent to node {node}").into(),
        (Ending::Elsewhere, None) => "sent to another node".into(),
        (Ending::Refused | Ending::Failed | Ending::Lost, _) => reason(&exchange.why).into(),
    }
}

fn reason(why: &str) -> &str {
    let end = why
        .char_indices()
        .nth(REASON_CHARS_MAX)
        .map_or(why.len(), |(at, _)| at);
    &why[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_nobody_else_is_told() {
        for (kind, ending, is_understood, is_passed_on, expected) in [
            (Kind::Put, Ending::Done, true, false, Level::Info),
            (Kind::Get, Ending::Done, true, false, Level::Info),
            (Kind::List, Ending::Refused, true, false, Level::Info),
            (Kind::Delete, Ending::Lost, true, false, Level::Info),
            (Kind::Put, Ending::Elsewhere, true, false, Level::Debug),
            (Kind::Put, Ending::Elsewhere, true, true, Level::Info),
            (Kind::Other, Ending::Refused, false, false, Level::Info),
            (Kind::Other, Ending::Failed, true, false, Level::Debug),
            (Kind::Peer, Ending::Done, true, false, Level::Debug),
        ] {
            let found = level((kind, ending), is_understood, is_passed_on);
            assert_eq!(
                found, expected,
                "{kind:?} {ending:?} {is_understood} {is_passed_on}"
            );
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        assert_eq!(reason(&"ä".repeat(300)), "ä".repeat(REASON_CHARS_MAX));
    }
}
