//! Whether whoever sends a request may have it done: the one place where that is decided.
//!
//! A client shows a token, or the ticket of a node that has seen one; nodes show tickets. What is decided depends on the
//! request and on the token alone, and before anything is looked up: whoever may not read an image does not learn whether
//! there is one. Without a file of tokens, everybody may do everything.

use std::sync::Arc;

use super::error::{Credential, Error};
use super::rate::Rate;
use super::request::{Action, Request};
use crate::ticket::{Claims, Purpose, Scope};
use crate::tokens::{Right, Token, Tokens};

/// Who may do what.
pub(crate) struct Access {
    /// None: everybody may do everything.
    pub(crate) tokens: Option<Tokens>,
    /// `/metrics` needs no token.
    pub(crate) is_metrics_open: bool,
    /// How many requests a second a token may make; none: as many as it likes.
    pub(crate) rate: Option<Arc<Rate>>,
}

/// A request that may be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// What the ticket says that came with it, if it is a valid one for it.
    pub(crate) claims: Option<Claims>,
    /// A token was seen that allows it, here or by the node that has sent the client.
    pub(crate) is_authorized: bool,
    /// All of what is asked for, and not only what everybody with a token may see.
    pub(crate) is_whole: bool,
}

impl Access {
    /// Judges a request by what its ticket says, if it is a valid one, and by `authorization`, as sent.
    pub(crate) fn authorize(
        &self,
        request: &Request,
        claims: Option<Claims>,
        authorization: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<Grant, Error> {
        let granted = Grant {
            claims,
            is_authorized: self.tokens.is_some(),
            is_whole: true,
        };
        let Some(tokens) = &self.tokens else {
            return Ok(granted);
        };
        if claims.is_some_and(|claims| claims.purpose != Purpose::Redirect) {
            return Ok(granted);
        }
        let need = self.need(&request.action);
        if need == Need::Nothing {
            return Ok(granted);
        }
        let Some(authorization) = authorization else {
            return Err(Error::Unauthorized(Credential::None));
        };
        let found = bearer(authorization).and_then(|presented| tokens.find(presented, now_ms / 1000));
        let (id, token) = found.ok_or(Error::Unauthorized(Credential::Bad))?;
        if self.rate.as_ref().is_some_and(|rate| !rate.allows(id, now_ms)) {
            return Err(Error::TooManyRequests);
        }
        match need.is_met_by(token) {
            true => Ok(Grant {
                is_whole: token.is_admin(),
                ..granted
            }),
            false => Err(Error::Forbidden),
        }
    }

    fn need<'r>(&self, action: &'r Action) -> Need<'r> {
        match action {
            Action::Put(id, _) => Need::Image(Right::Write, id.user()),
            Action::Get(id, _) | Action::Holding(id) => Need::Image(Right::Read, id.user()),
            Action::Delete(id, _) => Need::Image(Right::Delete, id.user()),
            Action::List(list) => Need::Image(Right::List, &list.user),
            Action::Cluster | Action::Survey => Need::Token,
            Action::Rebalance => Need::Admin,
            Action::Metrics if !self.is_metrics_open => Need::Admin,
            // Without a node's ticket, nothing is noted.
            Action::Note(_) | Action::Metrics | Action::Healthz | Action::Readyz | Action::Index(_) => {
                Need::Nothing
            }
        }
    }
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need<'r> {
    Nothing,
    /// Any token.
    Token,
    Admin,
    /// This right, to the images of this user.
    Image(Right, &'r str),
}

impl Need<'_> {
    fn is_met_by(self, token: &Token) -> bool {
        match self {
            Need::Nothing | Need::Token => true,
            Need::Admin => token.is_admin(),
            Need::Image(right, user) => token.allows(right, user),
        }
    }
}

/// What a ticket of this request would be good for; `None` if it takes none.
pub(crate) fn scope(action: &Action) -> Option<Scope<'_>> {
    Some(match action {
        Action::Put(id, _) => Scope::image("PUT", id),
        Action::Get(id, _) | Action::Holding(id) => Scope::image("GET", id),
        Action::Delete(id, _) => Scope::image("DELETE", id),
        Action::Note(id) => Scope::image("POST", id),
        Action::List(list) => Scope::list(&list.user),
        Action::Cluster => Scope::status(),
        Action::Survey
        | Action::Healthz
        | Action::Readyz
        | Action::Metrics
        | Action::Rebalance
        | Action::Index(_) => return None,
    })
}

/// The token in `Authorization: Bearer TOKEN`. The scheme is written in any case (RFC 9110 section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;
    use crate::http::target::Target;
    use crate::roster::{NodeId, ViewId};
    use crate::server::{answers, request};
    use crate::tokens::{RANDOM_BYTES, Rights};
    use crate::version::Version;

    const NOW: u64 = 1_790_000_000;

    fn request(line: &str) -> Request {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let target = Target::parse(head.target).unwrap();
        request::understand(&head, &target).unwrap()
    }

    /// Access with these tokens: user, rights and expiry; and what their bearers send.
    fn access(given: &[(&str, &str, Option<u64>)]) -> (Access, Vec<String>) {
        let mut tokens = Tokens::default();
        let bearers = (1_u8..).zip(given).map(|(byte, (user, rights, expiry))| {
            let rights = Rights::parse(rights).unwrap();
            let (_, text) = tokens.add(&[byte; RANDOM_BYTES], user, rights, *expiry).unwrap();
            format!("Bearer {}", *text)
        });
        let bearers = bearers.collect();
        let access = Access {
            tokens: Some(tokens),
            is_metrics_open: false,
            rate: None,
        };
        (access, bearers)
    }

    /// 0: it may be done.
    fn status(access: &Access, line: &str, claims: Option<Claims>, authorization: Option<&[u8]>) -> u16 {
        let judged = access.authorize(&request(line), claims, authorization, 1000 * NOW);
        judged.map_or_else(|refused| answers::refusal(&refused).status.0, |_| 0)
    }

    const REQUESTS: [(&str, &str); 11] = [
        ("PUT /images/alice/a.png", "write"),
        ("GET /images/alice/a.png", "read"),
        ("HEAD /images/alice/a.png", "read"),
        ("GET /images/alice/a.png?local&sealed", "read"),
        ("GET /images/alice/a.png?version", "read"),
        ("DELETE /images/alice/a.png", "delete"),
        ("GET /images/alice/", "list"),
        ("GET /images/alice/?local&versions", "list"),
        ("POST /rebalance", "admin"),
        ("GET /metrics", "admin"),
        ("HEAD /metrics", "admin"),
    ];

    #[test]
    fn every_request_takes_its_own_right_and_no_other_one_will_do() {
        let rights = ["read", "write", "delete", "list", "admin"];
        let given: Vec<_> = rights.iter().map(|right| ("alice", *right, None)).collect();
        let (access, bearers) = access(&given);
        for (line, needed) in REQUESTS {
            for (right, bearer) in rights.iter().zip(&bearers) {
                let expected = if *right == needed { 0 } else { 403 };
                let found = status(&access, line, None, Some(bearer.as_bytes()));
                assert_eq!(found, expected, "{line} with {right}");
            }
            assert_eq!(status(&access, line, None, None), 401, "{line}");
        }
    }

    #[test]
    fn nobody_gets_at_images_of_others() {
        let all = "read,write,delete,list,admin";
        let (access, bearers) = access(&[("bob", all, None), ("alice", all, Some(NOW))]);
        for (line, _) in REQUESTS.iter().filter(|(_, needed)| *needed != "admin") {
            assert_eq!(
                status(&access, line, None, Some(bearers[0].as_bytes())),
                403,
                "{line}"
            );
            assert_eq!(
                status(&access, line, None, Some(bearers[1].as_bytes())),
                401,
                "{line}: expired"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let (access, bearers) = access(&[("alice", "read", None)]);
        let right = &bearers[0];
        let token = &right["Bearer ".len()..];
        let line = "GET /images/alice/a.png";
        for good in [format!("bEARER {token}"), format!("Bearer   {token}")] {
            assert_eq!(status(&access, line, None, Some(good.as_bytes())), 0, "{good}");
        }
        for bad in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            token.to_owned(),
            format!("Basic {token}"),
            format!("Bearer{token}"),
            format!("Bearer {token},"),
            format!("Bearer {token} {token}"),
            format!("Bearer \"{token}\""),
            format!("Bearer {}", "A".repeat(7000)),
        ] {
            assert_eq!(status(&access, line, None, Some(bad.as_bytes())), 401, "{bad}");
        }
        assert_eq!(status(&access, line, None, Some(b"Bearer \xff")), 401);
    }

    #[test]
    fn a_ticket_is_as_good_as_what_the_node_that_signed_it_has_seen() {
        let (access, _) = access(&[]);
        for (purpose, expected) in [
            (Purpose::Redirect, 401),
            (Purpose::AuthorizedRedirect, 0),
            (Purpose::HandOver, 0),
            (Purpose::Upload, 0),
            (Purpose::Read, 0),
        ] {
            let claims = Claims {
                purpose,
                node: NodeId(1),
                view: ViewId::default(),
                hops: 1,
                expiry_ms: 0,
                version: Version::default(),
            };
            let found = status(&access, "PUT /images/alice/a.png", Some(claims), None);
            assert_eq!(found, expected, "{purpose:?}");
        }
    }

    #[test]
    fn a_token_that_asks_too_often_is_told_so_and_others_are_not() {
        let (mut access, bearers) = access(&[("alice", "read", None), ("bob", "read", None)]);
        access.rate = Some(Arc::new(Rate::new(2)));
        let of = |bearer: &String, line: &str| status(&access, line, None, Some(bearer.as_bytes()));
        let line = "GET /images/alice/a.png";
        let statuses: Vec<u16> = (0..3).map(|_| of(&bearers[0], line)).collect();
        assert_eq!(statuses, [0, 0, 429]);
        assert_eq!(of(&bearers[1], "GET /images/bob/a.png"), 0);
        assert_eq!(status(&access, "GET /healthz", None, None), 0);
    }

    #[test]
    fn what_everybody_may_know_takes_nothing_and_the_state_any_token() {
        let (mut access, bearers) = access(&[("alice", "read", None), ("ops", "admin", None)]);
        for line in ["GET /healthz", "GET /readyz", "GET /"] {
            assert_eq!(status(&access, line, None, None), 0, "{line}");
        }
        assert_eq!(status(&access, "GET /cluster", None, None), 401);
        for (bearer, is_whole) in bearers.iter().zip([false, true]) {
            let judged = access.authorize(
                &request("GET /cluster"),
                None,
                Some(bearer.as_bytes()),
                1000 * NOW,
            );
            assert_eq!(judged.unwrap().is_whole, is_whole);
        }
        access.is_metrics_open = true;
        assert_eq!(status(&access, "GET /metrics", None, None), 0);
        access.tokens = None;
        for (line, _) in REQUESTS {
            let judged = access.authorize(&request(line), None, None, 1000 * NOW).unwrap();
            assert!(judged.is_whole && !judged.is_authorized, "{line}");
        }
    }
}
