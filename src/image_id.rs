//! What an image is called: user and name, checked once, and the file name and the request target that stand for them.
//!
//! A name is UTF-8 as people have it: with spaces, other letters, `.png` in any case. It is refused, never changed, if it
//! could not be a file's name somewhere, or could be taken for another one: what does not show, reorders what does, or means
//! something to a path or to Windows. There is no normalisation: `é` as one character and as two are two names, as they are
//! for S3 and for Linux, since placement hashes the bytes and a client must find again what it stored.
//!
//! Knows nothing of folders (store's).

use std::fmt;

use crate::http::target::encode;

/// The longest user, in bytes.
pub(crate) const USER_BYTES_MAX: usize = 64;
/// The longest image name, in bytes, with its `.png`.
pub(crate) const NAME_BYTES_MAX: usize = 200;
/// The longest file name that Linux file systems store, in bytes.
pub(crate) const FILE_NAME_BYTES_MAX: usize = 255;

const PREFIX: &str = "encrypted_";
/// In any case.
const EXTENSION: &str = ".png";

/// What paths are made of, and what Windows does not store.
const RESERVED: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];
/// Stands for them in a name that is suggested.
const REPLACEMENT: char = '_';

/// Names of devices on Windows, where these files may be copied to.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];
/// All of them are so long, without the digit.
const DEVICE_BYTES: usize = 3;

/// A user and a name that have passed every rule. Orders by user, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId {
    user: String,
    name: String,
}

/// Why a user or a name was refused; its text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl ImageId {
    /// Checks `user` and `name` against every rule.
    pub fn new(user: &str, name: &str) -> Result<ImageId, Error> {
        check_user(user)?;
        check_name(name)?;
        let id = ImageId {
            user: user.to_owned(),
            name: name.to_owned(),
        };
        match PREFIX.len() + name.len() + ".".len() + user.len() {
            0..=FILE_NAME_BYTES_MAX => Ok(id),
            long => refuse(format!(
                "user and name make a file name of {long} bytes, at most {FILE_NAME_BYTES_MAX} fit on disk: shorten one"
            )),
        }
    }

    /// `[A-Za-z0-9_][A-Za-z0-9_-]{0,63}`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The name with its extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `user/name`, which a sealed file is bound to: moved under another name, it does not open.
    pub fn associated_data(&self) -> Vec<u8> {
        [&self.user, "/", &self.name].concat().into_bytes()
    }

    /// The request target of the image, percent-encoded: `/images/alice/my%20cat.png`.
    pub fn target(&self) -> String {
        ["/images/", &self.user, "/", &encode(&self.name)].concat()
    }

    /// `encrypted_<stem>.<user>.png`, with the extension as it is in the name. A user holds no dot, so the last two dots tell
    /// the parts apart, and no other name has this file.
    pub fn file_name(&self) -> String {
        let (stem, extension) = self.name.split_at(self.name.len() - EXTENSION.len());
        [PREFIX, stem, ".", &self.user, extension].concat()
    }

    /// The inverse of [`ImageId::file_name`]; `None` for any file that is not one of ours.
    pub fn from_file_name(file: &str) -> Option<ImageId> {
        let (front, extension) = split_extension(file.strip_prefix(PREFIX)?)?;
        let (stem, user) = front.rsplit_once('.')?;
        ImageId::new(user, &[stem, extension].concat()).ok()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.name)
    }
}

/// Whether `user` is `[A-Za-z0-9_][A-Za-z0-9_-]{0,63}`.
pub fn check_user(user: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if user.is_empty() || user.len() > USER_BYTES_MAX {
        return refuse(format!("a user has 1 to {USER_BYTES_MAX} characters"));
    }
    if user.starts_with('-') || !user.bytes().all(allowed) {
        return refuse("a user is made of A-Z a-z 0-9 _ - and does not begin with -".to_owned());
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    match objection(name) {
        None => Ok(()),
        Some(why) => refuse(format!("{why}; {} would do", suggestion(name))),
    }
}

/// What is wrong with a name.
fn objection(name: &str) -> Option<String> {
    let Some((stem, _)) = split_extension(name).filter(|(stem, _)| !stem.is_empty()) else {
        return Some("a name ends in .png and has something before it".to_owned());
    };
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("a name has at most {NAME_BYTES_MAX} bytes"));
    }
    if let Some(why) = unwelcome(name) {
        return Some(why.to_owned());
    }
    if name.starts_with(is_no_beginning) || stem.ends_with(is_no_end) {
        return Some(
            "a name does not begin with . - or a space, and has no dot or space before .png".to_owned(),
        );
    }
    if name.contains("..") {
        return Some("a name does not contain ..".to_owned());
    }
    is_device(stem).then(|| format!("{name} is a device on Windows"))
}

/// What is wrong with the characters of a name.
fn unwelcome(name: &str) -> Option<&'static str> {
    // Most names are of these alone, and each of three nodes looks at each.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.bytes().all(is_plain) {
        return None;
    }
    if name.contains(RESERVED) {
        return Some(r#"a name holds none of / \ : * ? " < > |"#);
    }
    if name.contains(is_unseen) {
        return Some("a name holds no control characters, and none that do not show");
    }
    if escape_in(name).is_some() {
        return Some(
            "a name holds no % before two hexadecimal digits: a program that decodes twice would take another one",
        );
    }
    None
}

/// A name like this one to which there is no objection.
fn suggestion(name: &str) -> String {
    let (stem, extension) = split_extension(name).unwrap_or((name, EXTENSION));
    let mut readable = String::with_capacity(name.len());
    for c in stem.chars() {
        match c {
            c if RESERVED.contains(&c) || is_unseen(c) => readable.push(REPLACEMENT),
            '.' if readable.ends_with('.') => {}
            c => readable.push(c),
        }
    }
    while let Some(at) = escape_in(&readable) {
        readable.replace_range(at..=at, "_");
    }
    let mut stem = readable.trim_start_matches(is_no_beginning);
    let bytes_max = NAME_BYTES_MAX - EXTENSION.len() - REPLACEMENT.len_utf8();
    stem = &stem[..stem.floor_char_boundary(bytes_max)];
    stem = stem.trim_end_matches(is_no_end);
    if stem.is_empty() {
        return format!("image{extension}");
    }
    match is_device(stem) {
        true => format!("{REPLACEMENT}{stem}{extension}"),
        false => format!("{stem}{extension}"),
    }
}

/// What is before `.png`, in any case, and that.
fn split_extension(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.split_at_checked(name.len().checked_sub(EXTENSION.len())?)?;
    extension
        .eq_ignore_ascii_case(EXTENSION)
        .then_some((stem, extension))
}

/// Where something looks percent-encoded, although it has been decoded.
fn escape_in(name: &str) -> Option<usize> {
    let is_escape = |three: &[u8]| three[0] == b'%' && three[1..].iter().all(u8::is_ascii_hexdigit);
    name.as_bytes().windows(3).position(is_escape)
}

/// Hidden files, options of programs, and what is lost when a name is typed or copied.
fn is_no_beginning(c: char) -> bool {
    matches!(c, '.' | '-') || c.is_whitespace() || is_joiner(c)
}

/// Windows drops dots and spaces.
fn is_no_end(c: char) -> bool {
    c == '.' || c.is_whitespace() || is_joiner(c)
}

/// Between letters they have a meaning; at the end of a name they only do not show.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Control characters, line separators, and what is not seen or reorders what is (Unicode's category Cf). The joiners U+200C
/// and U+200D pass: Persian and emoji are written with them.
pub(crate) fn is_unseen(c: char) -> bool {
    let is_noncharacter = u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    c.is_control()
        || is_noncharacter
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `NUL.anything.png` is a device as well: Windows looks only at the part before the first dot, and takes `¹` for a digit.
fn is_device(stem: &str) -> bool {
    let base = stem.split('.').next().unwrap_or(stem).trim_end();
    let (name, number) = base.split_at_checked(DEVICE_BYTES).unwrap_or((base, ""));
    let is_one_of = |devices: &[&str]| devices.iter().any(|device| device.eq_ignore_ascii_case(name));
    let mut number = number.chars();
    match (number.next(), number.next()) {
        (None, _) => is_one_of(&DEVICES),
        (Some('0'..='9' | '¹' | '²' | '³'), None) => is_one_of(&NUMBERED_DEVICES),
        _ => false,
    }
}

fn refuse<T>(why: String) -> Result<T, Error> {
    Err(Error(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    use crate::http::target::Target;

    #[test]
    fn good_names_pass_unchanged() {
        let long = format!("{}.png", "a".repeat(NAME_BYTES_MAX - 4));
        for name in [
            "cat.png",
            "_.png",
            "a.b-c.png.png",
            "console.png",
            "cat.PNG",
            "Mein Urlaub (1).Png",
            "Screenshot 2026-11-30 at 10.15.30\u{202f}AM.png",
            "日本.png",
            "cafe\u{301}.png",
            "\u{1f469}\u{200d}\u{1f52c}.png",
            "100% & more + #1; it's 'ok'.png",
            "COM10.png",
            &long,
        ] {
            let id = ImageId::new("alice", name).unwrap();
            assert_eq!((id.user(), id.name()), ("alice", name));
            assert_eq!(id.associated_data(), format!("alice/{name}").into_bytes());
        }
        for user in ["_", "a-b_9", "A"] {
            assert_eq!(ImageId::new(user, "cat.png").unwrap().user(), user);
        }
    }

    #[test]
    fn bad_names_are_refused_with_one_that_would_do() {
        for (name, would_do) in [
            ("", "image.png"),
            (".png", "image.png"),
            ("cat", "cat.png"),
            ("cat.jpg", "cat.jpg.png"),
            ("..png", "image.png"),
            ("a..b.png", "a.b.png"),
            ("../a.png", "_a.png"),
            ("a/b.png", "a_b.png"),
            ("a\\b.png", "a_b.png"),
            ("%2e%2E%2fa.png", "_2e_2E_2fa.png"),
            ("10:15 <1> |2| \"3\" *?.PNG", "10_15 _1_ _2_ _3_ __.PNG"),
            ("-a.png", "a.png"),
            (".a.png", "a.png"),
            (" a.png", "a.png"),
            ("\u{a0}a.png", "a.png"),
            ("a .png", "a.png"),
            ("wait...png", "wait.png"),
            ("a\0.png", "a_.png"),
            ("a\n.png", "a_.png"),
            ("a\u{9b}.png", "a_.png"),
            ("a\u{202e}gnp.png", "a_gnp.png"),
            ("a\u{200b}.png", "a_.png"),
            ("\u{200d}a.png", "a.png"),
            ("a\u{200c}.png", "a.png"),
            ("a\u{2028}b.png", "a_b.png"),
            ("\u{feff}a.png", "_a.png"),
            ("a\u{ffff}.png", "a_.png"),
            ("CON.png", "_CON.png"),
            ("nul.png", "_nul.png"),
            ("com1.png", "_com1.png"),
            ("com¹.png", "_com¹.png"),
            ("LPT9.x.png", "_LPT9.x.png"),
            ("a.png.", "a.png.png"),
            ("a.png ", "a.png.png"),
        ] {
            let refusal = ImageId::new("alice", name).unwrap_err().to_string();
            assert!(
                refusal.ends_with(&format!("; {would_do} would do")),
                "{name:?}: {refusal}"
            );
            assert!(ImageId::new("alice", would_do).is_ok(), "{would_do}");
        }
        let long = format!("{}.png", "ä".repeat(NAME_BYTES_MAX / 2));
        assert!(ImageId::new("alice", &long).is_err());
        for user in [
            "",
            "-a",
            "a.b",
            "a/b",
            "ä",
            "a b",
            "a\0",
            "..",
            &"a".repeat(USER_BYTES_MAX + 1),
        ] {
            assert!(ImageId::new(user, "cat.png").is_err(), "{user:?} passed");
        }
    }

    #[test]
    fn targets_hold_only_what_needs_no_escaping() {
        for (name, target) in [
            ("a-b_9.c~.png", "/images/alice/a-b_9.c~.png"),
            ("my cat+1.PNG", "/images/alice/my%20cat%2B1.PNG"),
            ("50%.png", "/images/alice/50%25.png"),
            ("ä&#日.png", "/images/alice/%C3%A4%26%23%E6%97%A5.png"),
        ] {
            assert_eq!(ImageId::new("alice", name).unwrap().target(), target);
        }
    }

    #[test]
    fn a_file_name_over_255_bytes_is_refused_as_a_pair() {
        let user = "u".repeat(USER_BYTES_MAX);
        let stem_max = FILE_NAME_BYTES_MAX - PREFIX.len() - 1 - USER_BYTES_MAX - EXTENSION.len();
        let fits = ImageId::new(&user, &format!("{}.png", "a".repeat(stem_max))).unwrap();
        assert_eq!(fits.file_name().len(), FILE_NAME_BYTES_MAX);
        assert!(ImageId::new(&user, &format!("{}.png", "a".repeat(stem_max + 1))).is_err());
    }

    #[test]
    fn only_our_own_file_names_map_back() {
        let id = ImageId::new("stresstest", "stress_image_17.png").unwrap();
        assert_eq!(id.file_name(), "encrypted_stress_image_17.stresstest.png");
        let id = ImageId::new("alice", "Mein Urlaub.PNG").unwrap();
        assert_eq!(id.file_name(), "encrypted_Mein Urlaub.alice.PNG");
        for foreign in [
            "cat.png",
            "encrypted_cat.png",
            "encrypted_.u.png",
            "encrypted_a.u.png~",
            ".gitkeep",
        ] {
            assert_eq!(ImageId::from_file_name(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn file_names_and_targets_map_back(
            user in "[A-Za-z0-9_][A-Za-z0-9_-]{0,20}",
            stem in r"[\PC. %/\\-]{0,40}",
            extension in r"\.[pP][nN][gG]",
        ) {
            if let Ok(id) = ImageId::new(&user, &format!("{stem}{extension}")) {
                prop_assert_eq!(ImageId::from_file_name(&id.file_name()), Some(id.clone()));
                let target = id.target();
                let read = Target::parse(&target).unwrap();
                prop_assert_eq!(&read.segments[..], &["images", id.user(), id.name()]);
            }
        }

        #[test]
        fn what_is_suggested_is_accepted(name in r"[\s\S]{0,80}(\.[pP][nN][gG])?") {
            prop_assert_eq!(objection(&suggestion(&name)), None);
        }

        #[test]
        fn a_long_suggestion_is_accepted(name in r"[äa. ]{150,260}\.png") {
            prop_assert_eq!(objection(&suggestion(&name)), None);
        }
    }
}
