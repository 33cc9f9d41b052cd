//! What became of one request: noted on its connection while it is served, and counted and told when it is over.

#![allow(clippy::disallowed_methods, reason = "the clock of a request that is over")]

use std::borrow::Cow;
use std::time::Instant;

use super::access_line;
use super::connection::Connection;
use super::request::{Action, Request};
use super::service::Service;
use super::traffic::{Ending, Kind};
use crate::http::answer::Answer;
use crate::http::head::Head;
use crate::roster::NodeId;
use crate::ticket::Claims;

/// What is known so far of the request that is being served.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Since when it is being read.
    begun: Option<Instant>,
    /// The status that it was answered with; 0 until then.
    status: u16,
    /// Bytes of content that were sent.
    sent: u64,
    /// Bytes of content that came.
    pub(crate) received: u64,
    /// The node that took it, or was to.
    pub(crate) node: Option<NodeId>,
    /// That node was asked on behalf of the client.
    pub(crate) is_passed_on: bool,
    /// The answer did not go out, or not all of it.
    is_cut: bool,
    /// Why it was not done, for people.
    pub(crate) why: String,
    /// Method and path of a request that was not understood or not let in, as they came.
    unread: Option<(&'static str, String)>,
}

impl Exchange {
    pub(crate) fn begin(begun: Instant) -> Exchange {
        Exchange {
            begun: Some(begun),
            ..Exchange::default()
        }
    }

    /// It was not understood, or not let in.
    pub(crate) fn note_unread(&mut self, head: &Head<'_>) {
        self.unread = Some((head.method.name(), without_secrets(head.target).to_owned()));
    }

    /// Method and path of a request that was not understood or not let in, as far as they are known.
    pub(super) fn unread(&self) -> (&'static str, Cow<'static, str>) {
        match &self.unread {
            Some((method, path)) => (method, path.clone().into()),
            None => ("-", "-".into()),
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// It is being answered so.
    pub(crate) fn answer(&mut self, answer: &Answer, head_only: bool) {
        self.status = answer.status.0;
        if !head_only {
            self.sent = answer.body().len() as u64;
        }
        if self.status >= 400 && self.why.is_empty() {
            self.why = String::from_utf8_lossy(answer.body()).trim_end().to_owned();
        }
    }

    /// It was answered with that status and so many bytes of content.
    pub(crate) fn went(&mut self, status: u16, bytes: u64) {
        (self.status, self.sent) = (status, bytes);
    }

    /// The answer did not go out, or not all of it.
    pub(crate) fn cut(&mut self, why: &str) {
        self.is_cut = true;
        why.clone_into(&mut self.why);
    }

    fn ending(&self) -> Ending {
        match self.status {
            _ if self.is_cut => Ending::Lost,
            0 => Ending::Lost,
            400..=499 => Ending::Refused,
            500.. => Ending::Failed,
            307 => Ending::Elsewhere,
            _ if self.is_passed_on => Ending::Elsewhere,
            _ => Ending::Done,
        }
    }
}

/// The path of a target. A query may hold a ticket that is still good, or a token that somebody has put there; and the absolute
/// form a password.
fn without_secrets(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.rsplit_once('@') {
        Some((_, host)) if !path.starts_with('/') => host,
        Some(_) | None => path,
    }
}

/// The request is over; none: it was not understood or not let in.
pub(crate) fn finish(
    service: &Service,
    connection: &mut Connection,
    request: Option<(&Request, Option<&Claims>)>,
) {
    let exchange = std::mem::take(&mut connection.exchange);
    let took = exchange
        .begun
        .map_or_else(Default::default, |begun| begun.elapsed());
    let kind = request.map_or(Kind::Other, |(request, claims)| kind(&request.action, claims));
    let bytes = (exchange.received, exchange.sent);
    let became = (kind, exchange.ending());
    service.traffic.add(became, took, bytes);
    access_line::tell(
        service,
        connection,
        (&exchange, request.map(|(request, _)| request)),
        became,
        took,
    );
}

fn kind(action: &Action, claims: Option<&Claims>) -> Kind {
    let is_of_peer = claims.is_some_and(|claims| !claims.purpose.is_redirect());
    match action {
        _ if is_of_peer => Kind::Peer,
        Action::Put(..) => Kind::Put,
        Action::Get(..) => Kind::Get,
        Action::Delete(..) => Kind::Delete,
        Action::List(_) => Kind::List,
        Action::Holding(_) | Action::Note(_) => Kind::Peer,
        Action::Cluster
        | Action::Healthz
        | Action::Readyz
        | Action::Metrics
        | Action::Rebalance
        | Action::Survey
        | Action::Index(_) => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_follows_from_the_status_and_from_whether_all_of_the_answer_went_out() {
        for (status, expected) in [
            (200, Ending::Done),
            (201, Ending::Done),
            (204, Ending::Done),
            (206, Ending::Done),
            (304, Ending::Done),
            (307, Ending::Elsewhere),
            (400, Ending::Refused),
            (499, Ending::Refused),
            (500, Ending::Failed),
            (507, Ending::Failed),
            (0, Ending::Lost),
        ] {
            let mut exchange = Exchange::default();
            exchange.went(status, 1);
            assert_eq!(exchange.ending(), expected, "{status}");
            exchange.cut("the client is gone");
            assert_eq!(exchange.ending(), Ending::Lost, "{status}");
        }
        let mut passed_on = Exchange {
            is_passed_on: true,
            ..Exchange::default()
        };
        passed_on.went(201, 1);
        assert_eq!(passed_on.ending(), Ending::Elsewhere);
        passed_on.went(415, 1);
        assert_eq!(passed_on.ending(), Ending::Refused);
    }

    #[test]
    fn of_a_target_nothing_is_told_that_may_be_secret() {
        for (target, told) in [
            ("/images/a/b.png?ticket=secret", "/images/a/b.png"),
            ("/?token=secret?more", "/"),
            ("/a#secret", "/a"),
            ("?secret", ""),
            ("/a@b.png", "/a@b.png"),
            ("http://user:secret@host/a?secret", "host/a"),
            ("http://user:sec/ret@host/a", "host/a"),
            ("http://host/a", "http://host/a"),
            ("user:secret@host:443", "host:443"),
            ("*", "*"),
        ] {
            assert_eq!(without_secrets(target), told, "{target}");
        }
    }

    #[test]
    fn why_a_request_is_refused_is_what_the_client_is_told() {
        let mut exchange = Exchange::default();
        exchange.answer(&Answer::text(404, "No node holds it."), false);
        assert_eq!((exchange.why.as_str(), exchange.sent), ("No node holds it.", 18));
        let mut exchange = Exchange::default();
        exchange.answer(&Answer::text(200, "ok"), true);
        assert_eq!((exchange.why.as_str(), exchange.sent), ("", 0));
    }
}
