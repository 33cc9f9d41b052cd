//! Which of two media types a client would rather have: `Accept`, RFC 9110 section 12.5.1.
//!
//! What is malformed counts as if it were not there: the field states a wish, and whoever asks gets an answer either way.

/// How much a client wants a media type, and how exactly it has named it. The order is that of preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    /// In thousandths; 0: not at all.
    quality: u16,
    /// 2: by name; 1: as `text/*`; 0: as `*/*`, or not at all.
    precision: u8,
}

/// Whether the lists in `accept` (all fields of that name) prefer `wanted` to `usual`, which is what is sent to whoever does not
/// care. Of two that are wanted alike, the one that is named more exactly is preferred.
pub(crate) fn prefers(accept: &[u8], wanted: &str, usual: &str) -> bool {
    let Ok(accept) = std::str::from_utf8(accept) else {
        return false;
    };
    let (wanted, usual) = (wish(accept, wanted), wish(accept, usual));
    wanted.quality > 0 && wanted > usual
}

/// The range that names a type most exactly tells its quality.
fn wish(accept: &str, media_type: &str) -> Wish {
    accept
        .split(',')
        .filter_map(|range| matching(range, media_type))
        .max_by_key(|wish| wish.precision)
        .unwrap_or_default()
}

fn matching(range: &str, media_type: &str) -> Option<Wish> {
    let mut parts = range.split(';').map(str::trim);
    let (kind, subkind) = parts.next()?.split_once('/')?;
    let (own_kind, own_subkind) = media_type.split_once('/')?;
    let precision = match (kind, subkind) {
        ("*", "*") => 0,
        (_, "*") if kind.eq_ignore_ascii_case(own_kind) => 1,
        _ if kind.eq_ignore_ascii_case(own_kind) && subkind.eq_ignore_ascii_case(own_subkind) => 2,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(Wish {
        quality: quality.map_or(Some(1000), thousandths)?,
        precision,
    })
}

/// `0`, `0.5`, `1.000`: at most three digits behind the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.bytes().all(|b| b.is_ascii_digit());
    if rest.len() > 3 || !digits {
        return None;
    }
    let part: u16 = format!("{rest:0<3}").parse().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn html(accept: &str) -> bool {
        prefers(accept.as_bytes(), "text/html", "application/json")
    }

    #[test]
    fn html_goes_to_those_who_prefer_it() {
        for accept in [
            "text/html",
            "TEXT/Html;charset=utf-8",
            "text/*",
            "text/html, */*",
            // Firefox, Chrome, Lynx, w3m.
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,\
             application/signed-exchange;v=b3;q=0.7",
            "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01",
            "text/html, text/*;q=0.5, image/*, application/*",
            "application/json;q=0.5, text/html;q=0.501",
            "application/json;q=x, text/html;q=0.1",
        ] {
            assert!(html(accept), "{accept}");
        }
    }

    #[test]
    fn json_goes_to_everybody_else() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "application/json, text/html",
            "text/html;q=0.9, application/json",
            "text/html;q=0, */*",
            "text/html;q=0",
            "*/*, text/html;q=0.5",
            "image/png",
            "text/html;q=2, */*",
            "text/html;q=0.1234",
            "texthtml",
            "*/html",
        ] {
            assert!(!html(accept), "{accept}");
        }
        assert!(!prefers(b"text/html\xff", "text/html", "application/json"));
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(accept in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = prefers(&accept, "text/html", "application/json");
        }

        #[test]
        fn no_list_makes_it_panic(accept in "([a-z*]{0,4}/?[a-z*]{0,4}(;[qQ]=[0-9.]{0,6})?,? ?){0,5}") {
            let _ = html(&accept);
        }
    }
}
