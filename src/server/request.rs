//! What a request asks of this server: its head, understood, and copied out of the bytes it came in.

use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::error::Error;
use crate::http::accept;
use crate::http::head::{Framing, Head, Method};
use crate::http::target::Target;
use crate::image_id::{self, ImageId};
use crate::node::conditions::{Conditions, Tags};
use crate::node::find::Reach;
use crate::node::list::List;
use crate::node::send::Form;

/// The most images in one page of a listing, and the default for JSON.
pub(crate) const LIST_IMAGES_MAX: usize = 10_000;
/// The images in one page of a listing to look at, unless more are asked for.
const HTML_IMAGES: usize = 1_000;

/// A request that makes sense here.
pub(crate) struct Request {
    pub(crate) action: Action,
    /// How the body is delimited.
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// The connection may be used again.
    pub(crate) keep_alive: bool,
    /// The body comes only after `100 Continue`.
    pub(crate) offer: bool,
    /// HEAD: the answer's content is left out.
    pub(crate) head_only: bool,
    /// `?relay`: what another node takes is passed on to it, and the client is not sent there.
    pub(crate) relay: bool,
    /// A list is sent as a page to look at.
    pub(crate) as_html: bool,
    /// `?ticket=`, as sent.
    pub(crate) ticket: Option<String>,
    /// Field lines that another node is sent, should the request be passed on.
    pub(crate) passed_on: String,
}

/// What may be done with an image.
pub(crate) const IMAGE_METHODS: &str = "GET, HEAD, PUT, DELETE";

/// What is to be done.
pub(crate) enum Action {
    Put(ImageId, Put),
    /// Tell another node what is here of a name.
    Holding(ImageId),
    /// Note what another node is about to write, if the ticket is one for that.
    Note(ImageId),
    /// Send an image.
    Get(ImageId, Get),
    /// Remove an image.
    Delete(ImageId, Delete),
    /// List a user's images.
    List(List),
    Cluster,
    /// What all members say about themselves.
    Survey,
    Healthz,
    Readyz,
    Metrics,
    /// Bring every image to the node that it is assigned to now.
    Rebalance,
    /// `GET /`; `true`: the page, for a browser.
    Index(bool),
}

impl Action {
    /// Whether the answer says what there is or is not, as far as this node's folder goes. An upload looks at the folder when it
    /// is taken, and needs none to be sent to the node that takes it.
    pub(crate) fn tells_of_images(&self) -> bool {
        match self {
            Action::Holding(_)
            | Action::Get(..)
            | Action::Delete(..)
            | Action::List(_)
            | Action::Rebalance => true,
            Action::Put(..)
            | Action::Note(..)
            | Action::Cluster
            | Action::Survey
            | Action::Healthz
            | Action::Readyz
            | Action::Metrics
            | Action::Index(_) => false,
        }
    }
}

/// The particulars of an upload.
pub(crate) struct Put {
    pub(crate) conditions: Conditions,
    /// `Content-Digest`: SHA-256 of the image.
    pub(crate) digest: Option<[u8; 32]>,
}

/// The particulars of a delete.
pub(crate) struct Delete {
    pub(crate) conditions: Conditions,
}

/// The particulars of a download.
pub(crate) struct Get {
    /// `?local`: no other nodes are asked.
    pub(crate) reach: Reach,
    /// `?sealed`: the file as stored.
    pub(crate) form: Form,
    /// `Range`, as sent.
    pub(crate) range: Option<String>,
    pub(crate) conditions: Conditions,
    /// `If-Range`, as sent.
    pub(crate) if_range: Option<String>,
}

/// Understands a head, or says why not.
pub(crate) fn understand(head: &Head<'_>, target: &Target<'_>) -> Result<Request, Error> {
    if head.method == Method::Unknown {
        return Err(Error::MethodUnknown);
    }
    let segments: Vec<&str> = target.segments.iter().map(AsRef::as_ref).collect();
    // What only nodes ask for is no page to look at.
    let as_html = matches!(segments[..], ["images", _, ""]) && !target.asks("versions") && prefers_html(head);
    let action = match segments[..] {
        ["images", user, ""] => reading(head, "GET, HEAD")
            .and_then(|()| list(user, target, as_html))
            .map(Action::List),
        ["images", user, name] => {
            let id = ImageId::new(user, name).map_err(|why| Error::Name(why.to_string()))?;
            image(head, target, id)
        }
        ["cluster"] => reading(head, "GET, HEAD").map(|()| match target.asks("all") {
            true => Action::Survey,
            false => Action::Cluster,
        }),
        ["healthz"] => reading(head, "GET, HEAD").map(|()| Action::Healthz),
        ["readyz"] => reading(head, "GET, HEAD").map(|()| Action::Readyz),
        ["rebalance"] => match head.method {
            Method::Post => Ok(Action::Rebalance),
            _ => Err(Error::Method("POST")),
        },
        ["metrics"] => reading(head, "GET, HEAD").map(|()| Action::Metrics),
        [""] => reading(head, "GET, HEAD").map(|()| Action::Index(is_browser(head))),
        _ => Err(Error::Path),
    }?;
    Ok(Request {
        action,
        framing: head.framing,
        expects_continue: head.expects_continue,
        keep_alive: head.keep_alive,
        offer: head.offer,
        head_only: head.method == Method::Head,
        relay: target.asks("relay"),
        as_html,
        ticket: target.value("ticket").map(str::to_owned),
        passed_on: String::new(),
    })
}

fn is_browser(head: &Head<'_>) -> bool {
    let wishes = head.fields.list("accept");
    wishes.is_some_and(|wishes| accept::prefers(&wishes, "text/html", "text/plain"))
}

fn prefers_html(head: &Head<'_>) -> bool {
    let wishes = head.fields.list("accept");
    wishes.is_some_and(|wishes| accept::prefers(&wishes, "text/html", "application/json"))
}

fn reading(head: &Head<'_>, allowed: &'static str) -> Result<(), Error> {
    match head.method {
        Method::Get | Method::Head => Ok(()),
        _ => Err(Error::Method(allowed)),
    }
}

fn image(head: &Head<'_>, target: &Target<'_>, id: ImageId) -> Result<Action, Error> {
    match head.method {
        Method::Put => put(head).map(|put| Action::Put(id, put)),
        Method::Get if target.asks("version") => Ok(Action::Holding(id)),
        Method::Get | Method::Head => Ok(Action::Get(
            id,
            Get {
                reach: reach(target),
                form: if target.asks("sealed") {
                    Form::Sealed
                } else {
                    Form::Image
                },
                range: head.fields.text("range").map(str::to_owned),
                conditions: conditions(head)?,
                if_range: head.fields.text("if-range").map(str::to_owned),
            },
        )),
        // Removing one copy of several would bring back an older one.
        Method::Delete if reach(target) == Reach::Local => Err(Error::LocalDelete),
        Method::Delete => Ok(Action::Delete(
            id,
            Delete {
                conditions: conditions(head)?,
            },
        )),
        Method::Post if target.asks("ticket") => Ok(Action::Note(id)),
        Method::Post | Method::Other | Method::Unknown => Err(Error::Method(IMAGE_METHODS)),
    }
}

fn reach(target: &Target<'_>) -> Reach {
    if target.asks("local") {
        Reach::Local
    } else {
        Reach::Everywhere
    }
}

fn put(head: &Head<'_>) -> Result<Put, Error> {
    if head.framing == Framing::None {
        return Err(Error::LengthMissing);
    }
    if head
        .fields
        .text("content-encoding")
        .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(Error::ContentEncoding);
    }
    if head.fields.text("content-range").is_some() {
        return Err(Error::ContentRange);
    }
    let digests = head.fields.list("content-digest");
    let digest = digests.as_deref().map(digest).transpose()?.flatten();
    Ok(Put {
        conditions: conditions(head)?,
        digest,
    })
}

/// RFC 9530 section 2: a dictionary of algorithms (RFC 9651). Unknown algorithms and parameters are ignored, as it asks; of
/// two digests of one kind the last counts. What does not parse is refused, which RFC 9651 section 4.2 leaves open: who
/// sends a digest wants it to be checked.
fn digest(field: &[u8]) -> Result<Option<[u8; 32]>, Error> {
    let dictionary: Dictionary = Parser::new(field).parse().map_err(|_| Error::ContentDigest)?;
    let Some(member) = dictionary.get("sha-256") else {
        return Ok(None);
    };
    let ListEntry::Item(Item {
        bare_item: BareItem::ByteSequence(bytes),
        ..
    }) = member
    else {
        return Err(Error::ContentDigest);
    };
    let digest = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::ContentDigest)?;
    Ok(Some(digest))
}

/// RFC 9110 section 13.1. A tag that is malformed is refused, a date that is none is passed over, as the RFC asks.
fn conditions(head: &Head<'_>) -> Result<Conditions, Error> {
    let tags = |name| match head.fields.bytes(name) {
        None => Ok(None),
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(Tags::parse)
            .map(Some)
            .ok_or(Error::EntityTag),
    };
    let date = |name| httpdate::parse_http_date(head.fields.text(name)?).ok();
    Ok(Conditions {
        if_match: tags("if-match")?,
        if_none_match: tags("if-none-match")?,
        if_modified_since: date("if-modified-since"),
        if_unmodified_since: date("if-unmodified-since"),
    })
}

fn list(user: &str, target: &Target<'_>, as_html: bool) -> Result<List, Error> {
    image_id::check_user(user).map_err(|why| Error::Name(why.to_string()))?;
    let limit = match target.value("limit") {
        None if as_html => HTML_IMAGES,
        None => LIST_IMAGES_MAX,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=LIST_IMAGES_MAX) => limit,
            _ => return Err(Error::Limit(LIST_IMAGES_MAX)),
        },
    };
    let after = target.decoded("after").map_err(|e| Error::Name(e.0.to_owned()))?;
    Ok(List {
        user: user.to_owned(),
        reach: reach(target),
        tombstones: target.asks("versions"),
        after: after.unwrap_or_default().into_owned(),
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;
    use crate::server::answers;

    fn understood(line: &str, fields: &str) -> Result<Request, u16> {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let target = Target::parse(head.target).unwrap();
        understand(&head, &target).map_err(|error| answers::refusal(&error).status.0)
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
                "Content-Length: 1\r\nIf-None-Match: \"x\r\n",
                400,
            ),
            (
                "PUT /images/a/b.png",
                "Content-Length: 1\r\nContent-Digest: sha-256=:AAAA:\r\n",
                400,
            ),
            ("PUT /images/a/b.png", "Content-Length: 1\r\nIf-Match: x\r\n", 400),
            ("DELETE /images/a/b.png?local", "", 400),
            ("POST /images/a/b.png", "", 405),
            ("PUT /cluster", "", 405),
            ("QUERY /cluster", "", 405),
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
    fn a_digest_is_found_or_refused_but_never_overlooked() {
        let value = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let found = Ok(Some([0; 32]));
        let other = value.replacen('A', "B", 1);
        for (field, expected) in [
            (format!("sha-256=:{value}:"), found),
            (format!("  md5=:AA==:,\t sha-256=:{value}:  ,unixsum=1"), found),
            (format!("sha-256=:{value}:;note=\"x\";q=0.5"), found),
            (format!("sha-256=:{other}:, sha-256=:{value}:"), found),
            (format!("sha-512=:{value}:"), Ok(None)),
            (format!("SHA-256=:{value}:"), Err(400)),
            (format!("sha-256 =:{value}:"), Err(400)),
            (format!("sha-256= :{value}:"), Err(400)),
            (format!("sha-256=:{value}"), Err(400)),
            (format!("sha-256={value}"), Err(400)),
            (format!("sha-256=(:{value}:)"), Err(400)),
            (format!("sha-256=\"{value}\""), Err(400)),
            (format!("sha-256=:{}:", &value[4..]), Err(400)),
            (format!("sha-256=:AAAA{value}:"), Err(400)),
            (format!("sha-256=:{value}:,"), Err(400)),
            (format!("sha-256=:{value}: sha-512=:AA==:"), Err(400)),
            ("sha-256".to_owned(), Err(400)),
            ("sha-256=::".to_owned(), Err(400)),
        ] {
            let fields = format!("Content-Length: 1\r\nContent-Digest: {field}\r\n");
            let digest = understood("PUT /images/a/b.png", &fields).map(|request| match request.action {
                Action::Put(_, put) => put.digest,
                _ => panic!("not understood as an upload"),
            });
            assert_eq!(digest, expected, "{field}");
        }
    }

    #[test]
    fn digests_in_several_lines_are_one_list() {
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let fields = format!(
            "Content-Length: 1\r\nContent-Digest: md5=:AA==:\r\nContent-Digest: sha-256=:{zero}:\r\n"
        );
        let Ok(Action::Put(_, put)) =
            understood("PUT /images/a/b.png", &fields).map(|request| request.action)
        else {
            panic!("not understood as an upload");
        };
        assert_eq!(put.digest, Some([0; 32]));
        let broken = fields.replace("md5=:AA==:", "SHA-256=:AA==:");
        assert_eq!(understood("PUT /images/a/b.png", &broken).err(), Some(400));
    }

    #[test]
    fn a_put_carries_its_ticket_its_conditions_and_its_digest() {
        let fields = "Content-Length: 1\r\nIf-None-Match: *\r\n\
                      Content-Digest: md5=:AA==:, sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n";
        let Ok(Request {
            action: Action::Put(id, put),
            ticket,
            ..
        }) = understood("PUT /images/a/b.png?ticket=abc&term=5", fields)
        else {
            panic!("not understood as an upload");
        };
        assert_eq!(id.to_string(), "a/b.png");
        assert_eq!(ticket.as_deref(), Some("abc"));
        assert_eq!(put.conditions.if_none_match, Some(Tags::Any));
        assert_eq!(put.digest, Some([0; 32]));
    }
}
