//! What a request line points at: path segments, decoded exactly once, and the query.
//!
//! Says nothing about which paths exist. A segment may decode to anything, also to `..` or a slash: rooms that
//! give segments a meaning refuse what they do not know, and nothing here joins segments to a path.

use std::borrow::Cow;

/// A request target, RFC 9112 section 3.2, in origin form or absolute form.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// The authority of the absolute form; it outranks `Host`.
    pub(crate) authority: Option<&'b str>,
    /// The decoded segments: `/a/b` has two, `/a/` has `a` and an empty one, `/` has one empty one.
    pub segments: Vec<Cow<'b, str>>,
    query: &'b str,
}

/// The target is malformed (400), with what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub(crate) &'static str);

impl<'b> Target<'b> {
    /// Reads the target of a request line.
    pub fn parse(target: &'b str) -> Result<Target<'b>, Error> {
        let (authority, rest) = split_authority(target)?;
        if target.contains('#') {
            return Err(Error("a request target has no fragment"));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = match path.strip_prefix('/') {
            Some(path) => path,
            None if authority.is_some() && path.is_empty() => "",
            None => return Err(Error("a request target begins with a slash")),
        };
        let segments = path.split('/').map(decode).collect::<Result<_, _>>()?;
        Ok(Target {
            authority,
            segments,
            query,
        })
    }

    /// Whether the query holds `key`, with or without a value.
    pub fn asks(&self, key: &str) -> bool {
        self.pairs().any(|(name, _)| name == key)
    }

    /// The value of `key` in the query, undecoded.
    pub(crate) fn value(&self, key: &str) -> Option<&'b str> {
        self.pairs()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The same, decoded.
    pub(crate) fn decoded(&self, key: &str) -> Result<Option<Cow<'b, str>>, Error> {
        self.value(key).map(decode).transpose()
    }

    fn pairs(&self) -> impl Iterator<Item = (&'b str, &'b str)> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

fn split_authority(target: &str) -> Result<(Option<&str>, &str), Error> {
    let Some(rest) = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
    else {
        return Ok((None, target));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(Error("an absolute target names a host, and no user"));
    }
    Ok((Some(authority), path))
}

/// Percent-decoding, RFC 3986 section 2.1, once.
fn decode(segment: &str) -> Result<Cow<'_, str>, Error> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => octet(rest.next(), rest.next())
                .ok_or(Error("a percent sign is followed by two hex digits"))?,
            plain => plain,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| Error("what is percent-encoded is not UTF-8"))?;
    Ok(Cow::Owned(text))
}

/// Percent-encodes all but the unreserved characters, RFC 3986 section 2.3, so that it can be a segment or a value.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if text.bytes().all(is_unreserved) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(3 * text.len());
    for byte in text.bytes() {
        match byte {
            plain if is_unreserved(plain) => encoded.push(plain.into()),
            other => {
                encoded.push('%');
                for digit in [other >> 4, other & 15] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    Cow::Owned(encoded)
}

fn octet(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let mut octet = [0];
    base16ct::mixed::decode([high?, low?], &mut octet).ok()?;
    Some(octet[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    fn segments(target: &str) -> Vec<String> {
        Target::parse(target)
            .unwrap()
            .segments
            .into_iter()
            .map(Cow::into_owned)
            .collect()
    }

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/images/a%2Fb/%252e.png"), ["images", "a/b", "%2e.png"]);
        assert_eq!(segments("/%c3%A4/%00"), ["ä", "\0"]);
        assert_eq!(segments("/images/a/"), ["images", "a", ""]);
        assert_eq!(segments("//a"), ["", "a"]);
        assert_eq!(segments("http://h:1/a?b"), ["a"]);
        assert_eq!(segments("http://h"), [""]);
    }

    #[test]
    fn queries_are_looked_up_by_key() {
        let target = Target::parse("/x?local&term=5&hop=").unwrap();
        assert!(target.asks("local") && target.asks("hop") && !target.asks("loc"));
        assert_eq!(
            (target.value("term"), target.value("hop"), target.value("no")),
            (Some("5"), Some(""), None)
        );
        assert!(!Target::parse("/x").unwrap().asks("local"));
    }

    #[test]
    fn malformed_targets_are_refused() {
        for target in [
            "x",
            "*",
            "",
            "/%",
            "/%4",
            "/%zz",
            "/%4g",
            "/%+4",
            "/%ff",
            "/a#b",
            "http:///a",
            "http://u@h/",
            "ftp://h/",
        ] {
            assert!(Target::parse(target).is_err(), "{target:?} passed");
        }
    }

    proptest! {
        #[test]
        fn no_target_makes_it_panic(target in "[!-~]{0,60}") {
            let _ = Target::parse(&target);
        }
    }
}
