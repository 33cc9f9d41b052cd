//! Answering a GET or HEAD of an image that this node holds: conditions, ranges, and the head of the answer. The content
//! is sent by `node::send`.

use std::ops::Range;

use httpdate::HttpDate;

use super::answers;
use super::request::Get;
use super::service::Service;
use crate::http::answer::Answer;
use crate::image_id::ImageId;
use crate::node::conditions::{Decision, ImageState};
use crate::node::opening::Source;
use crate::node::send::{self, Form};
use crate::socket::Socket;
use crate::store::sealed::Sealed;

/// What became of a download.
pub(crate) enum Sent {
    /// Nothing yet: this is to be answered.
    Answer(Answer),
    /// The head went out and all of the content followed.
    Whole {
        status: u16,
        /// Of content.
        bytes: u64,
    },
    /// The head went out, or the client is gone, and then something failed: the connection must be closed.
    Cut,
}

/// How the answer goes out.
pub(crate) struct Reply {
    /// The content is left out.
    pub(crate) head_only: bool,
    /// The connection will be used again.
    pub(crate) keep_alive: bool,
}

pub(crate) fn send(
    service: &Service,
    socket: &mut Socket,
    (id, sealed): (&ImageId, Sealed),
    get: &Get,
    reply: &Reply,
) -> Sent {
    let source = match send::open(&service.node, id, sealed) {
        Ok(source) => source,
        Err(error) => return answers::failure(&error).map_or(Sent::Cut, Sent::Answer),
    };
    let (answer, range) = match select(&source, get, reply.head_only) {
        Selected::Nothing(answer) => return Sent::Answer(answer),
        Selected::Part(answer, range) => (answer, range),
    };
    let bytes = range.end - range.start;
    let (status, head) = (answer.status.0, answer.announcing(bytes));
    if reply.head_only {
        return Sent::Answer(head);
    }
    let mut encoded = Vec::new();
    answers::dated(head).encode(&mut encoded, reply.keep_alive, false);
    match send::send(&service.node, socket, (id, &source), get.form, encoded, &range) {
        Ok(()) => Sent::Whole { status, bytes },
        Err(unsent) => match answers::failure(&unsent.error) {
            Some(answer) if !unsent.begun => Sent::Answer(answer),
            _ => Sent::Cut,
        },
    }
}

enum Selected {
    /// An answer that has no image in it.
    Nothing(Answer),
    /// This part of the image, with the head that describes it.
    Part(Answer, Range<u64>),
}

/// Which part of the image is to be sent.
fn select(source: &Source<'_>, get: &Get, head_only: bool) -> Selected {
    let (whole, etag) = match get.form {
        Form::Image => (source.plain_bytes(), source.etag()),
        Form::Sealed => (source.sealed_bytes(), source.etag().replacen('"', "\"sealed-", 1)),
    };
    let modified = HttpDate::from(source.modified());
    let described = |status| {
        describe(status, get.form)
            .field("ETag", &etag)
            .field("Last-Modified", modified)
    };
    let state = ImageState {
        etag: &etag,
        modified: source.modified(),
    };
    match get.conditions.judge_read(state) {
        Decision::Go => {}
        Decision::NotModified => return Selected::Nothing(described(304)),
        Decision::Failed => return Selected::Nothing(answers::precondition_failed()),
    }
    // RFC 9110 section 13.1.5: a strong tag, or the very date.
    let is_unchanged = |known: &str| known == etag || known == modified.to_string();
    // RFC 9110 section 14.2: a range is defined for GET, and HEAD tells of the whole.
    let wanted = get
        .range
        .as_deref()
        .filter(|_| !head_only && get.if_range.as_deref().is_none_or(is_unchanged));
    match wanted.map_or(Asked::Whole, |range| parse_range(range, whole)) {
        Asked::Whole => Selected::Part(described(200), 0..whole),
        Asked::Part(range) => {
            let part = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
            Selected::Part(described(206).field("Content-Range", part), range)
        }
        Asked::Nothing => {
            let text = format_args!("The image has {whole} bytes.");
            let answer = Answer::text(416, text).field("Content-Range", format_args!("bytes */{whole}"));
            Selected::Nothing(answer)
        }
    }
}

fn describe(status: u16, form: Form) -> Answer {
    let media_type = match form {
        Form::Image => "image/png",
        Form::Sealed => "application/octet-stream",
    };
    // A stored image is somebody's upload: no browser may take it for a page, or run what it may hold.
    Answer::empty(status)
        .field("Content-Type", media_type)
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", "default-src 'none'; sandbox")
        .field("Cross-Origin-Resource-Policy", "same-origin")
        .field("Cache-Control", "private")
        .field("Accept-Ranges", "bytes")
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// RFC 9110 section 14.1.2. What is malformed, or asks for several parts, is answered with the whole.
fn parse_range(field: &str, whole: u64) -> Asked {
    let Some((first, last)) = field
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than fit are a number all the same, and a large one.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(whole),
        (Some(first), None) if last.is_empty() => first..whole,
        (None, Some(suffix)) if first.is_empty() => whole.saturating_sub(suffix)..whole,
        _ => return Asked::Whole,
    };
    if range.start < range.end {
        Asked::Part(range)
    } else {
        Asked::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (field, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=9-", Asked::Part(9..10)),
            ("bytes=2-100", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-100", Asked::Part(0..10)),
            ("bytes=5-99999999999999999999999", Asked::Part(5..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-12", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=5-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("pages=1-2", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(parse_range(field, 10), asked, "{field}");
        }
    }
}
