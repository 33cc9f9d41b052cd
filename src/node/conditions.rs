//! Preconditions of a request (RFC 9110 section 13): under which state of the image it is to be done.
//!
//! Pure. The state comes from whoever knows the newest version in the cluster; what cannot be known is not decided here.

use std::time::{Duration, SystemTime};

/// `If-Match`, `If-None-Match`, `If-Modified-Since` and `If-Unmodified-Since`, as far as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<Tags>,
    pub(crate) if_none_match: Option<Tags>,
    pub(crate) if_modified_since: Option<SystemTime>,
    pub(crate) if_unmodified_since: Option<SystemTime>,
}

/// A list of entity tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`: any image.
    Any,
    Listed(Vec<Tag>),
}

/// An entity tag, RFC 9110 section 8.8.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    is_weak: bool,
    /// With its quotes.
    opaque: String,
}

/// What is known of an image that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageState<'a> {
    /// Its entity tag, with its quotes; always a strong one.
    pub(crate) etag: &'a str,
    pub(crate) modified: SystemTime,
}

/// What follows from the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// They hold.
    Go,
    /// The client has this image already: 304 for a read.
    NotModified,
    /// They do not hold: 412.
    Failed,
}

impl Conditions {
    pub(crate) fn are_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// For GET and HEAD, in the order of RFC 9110 section 13.2.2. `state` is that of the image that is read.
    pub(crate) fn judge_read(&self, state: ImageState<'_>) -> Decision {
        if !self.allows_present(state) {
            return Decision::Failed;
        }
        let unchanged = match &self.if_none_match {
            Some(tags) => tags.holds_weakly(state.etag),
            None => self
                .if_modified_since
                .is_some_and(|since| whole_seconds(state.modified) <= since),
        };
        if unchanged {
            Decision::NotModified
        } else {
            Decision::Go
        }
    }

    /// For PUT and DELETE. `None`: there is no image of that name.
    pub(crate) fn judge_write(&self, state: Option<ImageState<'_>>) -> Decision {
        let holds = match state {
            // RFC 9110 section 13.1.4: without an image, there is no date to compare with.
            None => self.if_match.is_none(),
            Some(state) => {
                self.allows_present(state)
                    && self
                        .if_none_match
                        .as_ref()
                        .is_none_or(|tags| !tags.holds_weakly(state.etag))
            }
        };
        if holds { Decision::Go } else { Decision::Failed }
    }

    fn allows_present(&self, state: ImageState<'_>) -> bool {
        match &self.if_match {
            Some(tags) => tags.holds_strongly(state.etag),
            None => self
                .if_unmodified_since
                .is_none_or(|since| whole_seconds(state.modified) <= since),
        }
    }
}

/// Dates in HTTP have no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

impl Tags {
    /// Reads the value of `If-Match` or `If-None-Match`; `None` if it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Tags> {
        let mut rest = text.trim_matches([' ', '\t']);
        if rest == "*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            let (tag, after) = Tag::parse(rest)?;
            tags.push(tag);
            let after = after.trim_start_matches([' ', '\t']);
            // RFC 9110 section 5.6.1.2: empty members of a list are passed over.
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start_matches([' ', '\t', ',']),
                None if after.is_empty() => after,
                None => return None,
            };
        }
        (!tags.is_empty()).then_some(Tags::Listed(tags))
    }

    fn holds_strongly(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|tag| !tag.is_weak && tag.opaque == etag),
        }
    }

    fn holds_weakly(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|tag| tag.opaque == etag),
        }
    }
}

impl Tag {
    fn parse(text: &str) -> Option<(Tag, &str)> {
        let (is_weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix('"')?;
        let end = inner.find('"')?;
        if inner[..end].bytes().any(|b| b <= b' ' || b == 0x7f) {
            return None;
        }
        let (opaque, rest) = quoted.split_at(end + 2);
        let opaque = opaque.to_owned();
        Some((Tag { is_weak, opaque }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Option<Tags> {
        Some(Tags::parse(text).unwrap())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 500)
    }

    const A: &str = "\"a\"";

    fn state() -> ImageState<'static> {
        ImageState {
            etag: A,
            modified: at(100),
        }
    }

    fn date(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn lists_of_tags_are_read_as_the_rfc_says() {
        for (text, holds) in [
            ("*", true),
            (" * ", true),
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("\"b\",, ,\"a\" ,", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a,\"", false),
        ] {
            assert_eq!(Tags::parse(text).unwrap().holds_strongly(A), holds, "{text}");
        }
        assert!(Tags::parse("W/\"a\"").unwrap().holds_weakly(A));
        for text in [
            "",
            ",",
            "a",
            "\"a",
            "\"a\" \"b\"",
            "*, \"a\"",
            "w/\"a\"",
            "\"a b\"",
            "\"a\"x",
        ] {
            assert_eq!(Tags::parse(text), None, "{text}");
        }
    }

    fn with(change: impl FnOnce(&mut Conditions)) -> Conditions {
        let mut conditions = Conditions::default();
        change(&mut conditions);
        conditions
    }

    #[test]
    fn a_read_is_judged_in_the_order_of_the_rfc() {
        for (conditions, judgement) in [
            (Conditions::default(), Decision::Go),
            (with(|c| c.if_match = tags("\"a\"")), Decision::Go),
            (with(|c| c.if_match = tags("\"b\"")), Decision::Failed),
            (with(|c| c.if_none_match = tags("W/\"a\"")), Decision::NotModified),
            (with(|c| c.if_none_match = tags("\"b\"")), Decision::Go),
            (with(|c| c.if_modified_since = date(100)), Decision::NotModified),
            (with(|c| c.if_modified_since = date(99)), Decision::Go),
            (with(|c| c.if_unmodified_since = date(100)), Decision::Go),
            (with(|c| c.if_unmodified_since = date(99)), Decision::Failed),
        ] {
            assert_eq!(conditions.judge_read(state()), judgement, "{conditions:?}");
        }
    }

    #[test]
    fn a_tag_outranks_a_date() {
        let matching = with(|c| (c.if_match, c.if_unmodified_since) = (tags("\"a\""), date(99)));
        assert_eq!(matching.judge_read(state()), Decision::Go);
        let known = with(|c| (c.if_none_match, c.if_modified_since) = (tags("\"b\""), date(100)));
        assert_eq!(known.judge_read(state()), Decision::Go);
    }

    #[test]
    fn a_write_needs_what_it_asks_for() {
        use Decision::{Failed, Go};
        for (conditions, with_image, without) in [
            (Conditions::default(), Go, Go),
            (with(|c| c.if_none_match = tags("*")), Failed, Go),
            (with(|c| c.if_none_match = tags("\"a\"")), Failed, Go),
            (with(|c| c.if_none_match = tags("\"b\"")), Go, Go),
            (with(|c| c.if_match = tags("*")), Go, Failed),
            (with(|c| c.if_match = tags("\"a\"")), Go, Failed),
            (with(|c| c.if_match = tags("\"b\"")), Failed, Failed),
            (with(|c| c.if_unmodified_since = date(100)), Go, Go),
            (with(|c| c.if_unmodified_since = date(99)), Failed, Go),
            // RFC 9110 section 13.1.3: only for reads.
            (with(|c| c.if_modified_since = date(100)), Go, Go),
        ] {
            assert_eq!(
                conditions.judge_write(Some(state())),
                with_image,
                "{conditions:?}"
            );
            assert_eq!(conditions.judge_write(None), without, "{conditions:?}");
        }
    }
}
