//! What an image is called: user and name, checked once, and the file name that maps back to them.
//!
//! Refuses rather than changes. ASCII only, one path segment each: no normalisation form, no direction mark,
//! no overlong encoding and no path can hide in a name. Knows nothing of percent-encoding (that is http's)
//! and of folders (store's).

use std::fmt;

/// The longest user, in bytes.
pub(crate) const USER_BYTES_MAX: usize = 64;
/// The longest image name, in bytes, with its `.png`.
pub(crate) const NAME_BYTES_MAX: usize = 200;
/// The longest file name that Linux file systems store, in bytes.
pub(crate) const FILE_NAME_BYTES_MAX: usize = 255;

const PREFIX: &str = "encrypted_";
const SUFFIX: &str = ".png";

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

    /// The name with its `.png`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `user/name`, which a sealed file is bound to: moved under another name, it does not open.
    pub fn associated_data(&self) -> Vec<u8> {
        [&self.user, "/", &self.name].concat().into_bytes()
    }

    /// `encrypted_<stem>.<user>.png`. A user holds no dot, so the last two dots tell the parts apart.
    pub fn file_name(&self) -> String {
        let stem = &self.name[..self.name.len() - SUFFIX.len()];
        [PREFIX, stem, ".", &self.user, SUFFIX].concat()
    }

    /// The inverse of [`ImageId::file_name`]; `None` for any file that is not one of ours.
    pub fn from_file_name(file: &str) -> Option<ImageId> {
        let (stem, user) = file
            .strip_prefix(PREFIX)?
            .strip_suffix(SUFFIX)?
            .rsplit_once('.')?;
        ImageId::new(user, &format!("{stem}{SUFFIX}")).ok()
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
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.len() > NAME_BYTES_MAX {
        return refuse(format!("a name has at most {NAME_BYTES_MAX} characters"));
    }
    let Some(stem) = name.strip_suffix(SUFFIX).filter(|stem| !stem.is_empty()) else {
        return refuse("a name ends in .png (in lower case) and has something before it".to_owned());
    };
    if name.starts_with(['.', '-']) || !name.bytes().all(allowed) {
        return refuse(
            "a name is made of A-Z a-z 0-9 . _ - and begins with a letter, a digit or _".to_owned(),
        );
    }
    if name.contains("..") {
        return refuse("a name does not contain ..".to_owned());
    }
    if is_device(stem) {
        return refuse(format!("{name} is a device on Windows: choose another name"));
    }
    Ok(())
}

/// `NUL.anything.png` is a device as well: Windows looks only at the part before the first dot.
fn is_device(stem: &str) -> bool {
    let base = stem.split('.').next().unwrap_or(stem);
    let (name, number) = base.split_at_checked(DEVICE_BYTES).unwrap_or((base, ""));
    let is_one_of = |devices: &[&str]| devices.iter().any(|device| device.eq_ignore_ascii_case(name));
    match number.as_bytes() {
        [] => is_one_of(&DEVICES),
        [digit] => digit.is_ascii_digit() && is_one_of(&NUMBERED_DEVICES),
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

    #[test]
    fn good_names_pass_unchanged() {
        for (user, name) in [
            ("alice", "cat.png"),
            ("_", "_.png"),
            ("a-b_9", "a.b-c.png.png"),
            ("A", "console.png"),
        ] {
            let id = ImageId::new(user, name).unwrap();
            assert_eq!((id.user(), id.name()), (user, name));
            assert_eq!(id.associated_data(), format!("{user}/{name}").into_bytes());
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long = format!("{}.png", "a".repeat(NAME_BYTES_MAX - 3));
        for name in [
            "",
            ".png",
            "cat",
            "cat.jpg",
            "cat.PNG",
            "..png",
            "a..b.png",
            "../a.png",
            "a/b.png",
            "a\\b.png",
            "-a.png",
            ".a.png",
            "a b.png",
            "a\0.png",
            "ä.png",
            "a%2e.png",
            "CON.png",
            "nul.png",
            "com1.png",
            "LPT9.x.png",
            "a.png.",
            "a.png ",
            &long,
        ] {
            assert!(ImageId::new("alice", name).is_err(), "{name:?} passed");
        }
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
    fn a_file_name_over_255_bytes_is_refused_as_a_pair() {
        let user = "u".repeat(USER_BYTES_MAX);
        let stem_max = FILE_NAME_BYTES_MAX - PREFIX.len() - 1 - USER_BYTES_MAX - SUFFIX.len();
        let fits = ImageId::new(&user, &format!("{}.png", "a".repeat(stem_max))).unwrap();
        assert_eq!(fits.file_name().len(), FILE_NAME_BYTES_MAX);
        assert!(ImageId::new(&user, &format!("{}.png", "a".repeat(stem_max + 1))).is_err());
    }

    #[test]
    fn only_our_own_file_names_map_back() {
        let id = ImageId::new("stresstest", "stress_image_17.png").unwrap();
        assert_eq!(id.file_name(), "encrypted_stress_image_17.stresstest.png");
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
        fn file_names_map_back(user in "[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", stem in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}") {
            if let Ok(id) = ImageId::new(&user, &format!("{stem}.png")) {
                prop_assert_eq!(ImageId::from_file_name(&id.file_name()), Some(id));
            }
        }
    }
}
