//! What a request asks of this server: the head, understood, and free of the bytes it came in.

use crate::http::answer::Answer;
use crate::http::head::{Framing, Head, Method};
use crate::http::target::Target;
use crate::image_id::{self, ImageId};

/// The most images in one page of a listing, and what a page holds if nothing is said.
pub const LIST_IMAGES_MAX: usize = 10_000;

/// A request that makes sense here.
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// How the body is delimited.
    pub framing: Framing,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The connection may be used again.
    pub keep_alive: bool,
    /// The body comes only after `100 Continue`.
    pub offer: bool,
    /// HEAD: the answer's content is left out.
    pub head_only: bool,
}

/// The things this server does.
pub enum Action {
    /// Store an image.
    Put(ImageId, Put),
    /// Send an image.
    Get(ImageId, Get),
    /// Remove an image.
    Delete(ImageId, Reach),
    /// List a user's images.
    List(List),
    /// The state of the cluster as JSON.
    Cluster,
    /// Alive?
    Healthz,
    /// Able to take uploads?
    Readyz,
    /// Counters for Prometheus.
    Metrics,
    /// What this is.
    Index,
}

/// Where an upload came from: a client, or another node's redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Referral {
    /// The term of the node that redirected last.
    pub term: u64,
    /// How many nodes redirected.
    pub hops: u32,
}

/// The particulars of an upload.
pub struct Put {
    /// From where it was redirected.
    pub referral: Referral,
    /// `If-None-Match: *`: do not replace.
    pub only_new: bool,
    /// `Content-Digest: sha-256`, RFC 9530.
    pub digest: Option<[u8; 32]>,
}

/// Whether other nodes are asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The whole cluster.
    Everywhere,
    /// `?local`: this node's folder only.
    Local,
}

/// The particulars of a download.
pub struct Get {
    /// Whether other nodes are asked.
    pub reach: Reach,
    /// `?sealed`: the file as stored.
    pub sealed: bool,
    /// `Range`, as sent.
    pub range: Option<String>,
    /// `If-None-Match`, as sent.
    pub if_none_match: Option<String>,
    /// `If-Range`, as sent.
    pub if_range: Option<String>,
}

/// The particulars of a listing.
pub struct List {
    /// Whose images.
    pub user: String,
    /// Whether other nodes are asked.
    pub reach: Reach,
    /// Only names after this one.
    pub after: String,
    /// At most so many.
    pub limit: usize,
}

/// Understands a head, or says with which answer to refuse it.
pub fn understand(head: &Head<'_>, target: &Target<'_>) -> Result<Request, Answer> {
    if head.method == Method::Unknown {
        return Err(Answer::text(501, "This server knows GET, HEAD, PUT and DELETE."));
    }
    let segments: Vec<&str> = target.segments.iter().map(AsRef::as_ref).collect();
    let action = match segments[..] {
        ["images", user, ""] => reading(head, "GET, HEAD")
            .and_then(|()| list(user, target))
            .map(Action::List),
        ["images", user, name] => {
            let id = ImageId::new(user, name).map_err(|refusal| Answer::text(400, refusal))?;
            image(head, target, id)
        }
        ["cluster"] => reading(head, "GET, HEAD").map(|()| Action::Cluster),
        ["healthz"] => reading(head, "GET, HEAD").map(|()| Action::Healthz),
        ["readyz"] => reading(head, "GET, HEAD").map(|()| Action::Readyz),
        ["metrics"] => reading(head, "GET, HEAD").map(|()| Action::Metrics),
        [""] => reading(head, "GET, HEAD").map(|()| Action::Index),
        _ => Err(Answer::text(
            404,
            "Nothing here. Images are at /images/{user}/{name}.",
        )),
    }?;
    Ok(Request {
        action,
        framing: head.framing,
        expects_continue: head.expects_continue,
        keep_alive: head.keep_alive,
        offer: head.offer,
        head_only: head.method == Method::Head,
    })
}

fn reading(head: &Head<'_>, allowed: &'static str) -> Result<(), Answer> {
    match head.method {
        Method::Get | Method::Head => Ok(()),
        _ => Err(not_allowed(allowed)),
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    Answer::text(405, format_args!("Allowed here: {allowed}.")).field("Allow", allowed)
}

fn image(head: &Head<'_>, target: &Target<'_>, id: ImageId) -> Result<Action, Answer> {
    match head.method {
        Method::Put => put(head, target).map(|put| Action::Put(id, put)),
        Method::Get | Method::Head => Ok(Action::Get(
            id,
            Get {
                reach: reach(target),
                sealed: target.asks("sealed"),
                range: head.fields.text("range").map(str::to_owned),
                if_none_match: head.fields.text("if-none-match").map(str::to_owned),
                if_range: head.fields.text("if-range").map(str::to_owned),
            },
        )),
        Method::Delete => Ok(Action::Delete(id, reach(target))),
        Method::Other | Method::Unknown => Err(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

fn reach(target: &Target<'_>) -> Reach {
    if target.asks("local") {
        Reach::Local
    } else {
        Reach::Everywhere
    }
}

fn put(head: &Head<'_>, target: &Target<'_>) -> Result<Put, Answer> {
    if head.framing == Framing::None {
        return Err(Answer::text(
            411,
            "An upload says how long it is (Content-Length) or is chunked.",
        ));
    }
    if head
        .fields
        .text("content-encoding")
        .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(Answer::text(
            415,
            "Images are taken as they are, without Content-Encoding.",
        ));
    }
    if head.fields.text("content-range").is_some() {
        return Err(Answer::text(
            400,
            "An image is uploaded whole: Content-Range is not taken.",
        ));
    }
    let only_new = match head.fields.text("if-none-match") {
        None => false,
        Some("*") => true,
        Some(_) => return Err(Answer::text(400, "If-None-Match on an upload is * or absent.")),
    };
    let digest = head
        .fields
        .text("content-digest")
        .map(digest)
        .transpose()?
        .flatten();
    Ok(Put {
        referral: referral(target)?,
        only_new,
        digest,
    })
}

/// RFC 9530 section 2: a dictionary of algorithms. Those we do not know are passed over, as it asks.
fn digest(field: &str) -> Result<Option<[u8; 32]>, Answer> {
    let malformed = || {
        Answer::text(
            400,
            "Content-Digest is written sha-256=:BASE64:, with 32 bytes in it.",
        )
    };
    for member in field.split(',') {
        let (algorithm, value) = member.trim().split_once('=').ok_or_else(malformed)?;
        if algorithm != "sha-256" {
            continue;
        }
        let base64 = value
            .strip_prefix(':')
            .and_then(|v| v.strip_suffix(':'))
            .ok_or_else(malformed)?;
        let mut bytes = [0; 32];
        return match <base64ct::Base64 as base64ct::Encoding>::decode(base64, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Some(bytes)),
            _ => Err(malformed()),
        };
    }
    Ok(None)
}

fn referral(target: &Target<'_>) -> Result<Referral, Answer> {
    let number = |key: &str| match target.value(key) {
        None => Ok(0),
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| Answer::text(400, "term and hop are whole numbers.")),
    };
    let hops = u32::try_from(number("hop")?).unwrap_or(u32::MAX);
    Ok(Referral {
        term: number("term")?,
        hops,
    })
}

fn list(user: &str, target: &Target<'_>) -> Result<List, Answer> {
    image_id::check_user(user).map_err(|refusal| Answer::text(400, refusal))?;
    let limit = match target.value("limit") {
        None => LIST_IMAGES_MAX,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=LIST_IMAGES_MAX) => limit,
            _ => {
                return Err(Answer::text(
                    400,
                    format_args!("limit is 1 to {LIST_IMAGES_MAX}."),
                ));
            }
        },
    };
    let after = target.value("after").unwrap_or_default().to_owned();
    Ok(List {
        user: user.to_owned(),
        reach: reach(target),
        after,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;

    fn understood(line: &str, fields: &str) -> Result<Request, u16> {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let target = Target::parse(head.target).unwrap();
        understand(&head, &target).map_err(|answer| answer.status.0)
    }

    #[test]
    fn refusals_have_their_status() {
        for (line, fields, status) in [
            ("PUT /images/a/b.png", "", 411),
            ("PUT /images/a/b.jpg", "Content-Length: 1\r\n", 400),
            ("PUT /images/a/%2e%2e%2fb.png", "Content-Length: 1\r\n", 400),
            (
                "PUT /images/a/b.png",
                "Content-Length: 1\r\nContent-Encoding: gzip\r\n",
                415,
            ),
            (
                "PUT /images/a/b.png",
                "Content-Length: 1\r\nContent-Range: bytes 0-1/2\r\n",
                400,
            ),
            (
                "PUT /images/a/b.png",
                "Content-Length: 1\r\nIf-None-Match: \"x\"\r\n",
                400,
            ),
            (
                "PUT /images/a/b.png",
                "Content-Length: 1\r\nContent-Digest: sha-256=:AAAA:\r\n",
                400,
            ),
            ("PUT /images/a/b.png?term=x", "Content-Length: 1\r\n", 400),
            ("POST /images/a/b.png", "", 405),
            ("PUT /cluster", "", 405),
            ("DELETE /images/a/", "", 405),
            ("BREW /", "", 501),
            ("GET /images", "", 404),
            ("GET /images/a/b/c.png", "", 404),
            ("GET //", "", 404),
            ("GET /images/-/", "", 400),
            ("GET /images/a/?limit=0", "", 400),
        ] {
            assert_eq!(understood(line, fields).err(), Some(status), "{line} {fields}");
        }
    }

    #[test]
    fn a_put_carries_its_referral_and_its_digest() {
        let fields = "Content-Length: 1\r\nIf-None-Match: *\r\n\
                      Content-Digest: md5=:AA==:, sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n";
        let Ok(Request {
            action: Action::Put(id, put),
            ..
        }) = understood("PUT /images/a/b.png?term=5&hop=1", fields)
        else {
            panic!("not understood as an upload");
        };
        assert_eq!(id.to_string(), "a/b.png");
        assert_eq!(
            (put.referral, put.only_new),
            (Referral { term: 5, hops: 1 }, true)
        );
        assert_eq!(put.digest, Some([0; 32]));
    }
}
