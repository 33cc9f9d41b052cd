//! Bearer tokens (RFC 6750): who may do what.
//!
//! ```text
//! token   pixseal_<id>_<secret>             id: 8 hexadecimal digits; secret: 32 random bytes in base64url
//! file    <id> <user> <rights> <SHA-256 of the secret> [<expiry>]
//! ```
//!
//! The file has a line for each token: the hash in hexadecimal digits, the expiry in seconds since 1970, rights with
//! commas between them; `#` begins a comment. The secret is not in it: it has 256 bits, so its hash needs no salt and no
//! stretching. A token is found by its id, which is no secret, and its hash is compared in constant time.
//!
//! Text in, decisions out: the file is `secrets`' business, and what needs which right is `server`'s.

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::digest::CtOutput;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::image_id;

/// The longest file of tokens, in bytes: some 100,000 of them.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// What every token begins with, so that tools that look for leaked secrets find it.
const PREFIX: &str = "pixseal_";
const ID_DIGITS: usize = 8;
const SECRET_BYTES: usize = 32;
/// Random bytes that a token is made of.
pub const RANDOM_BYTES: usize = ID_DIGITS / 2 + SECRET_BYTES;

/// Something that a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Get the user's images.
    Read,
    /// Put images of the user.
    Write,
    /// Remove images of the user.
    Delete,
    /// List the images of the user.
    List,
    /// See all of `/cluster` and `/metrics`, and rebalance. Images need a right of their own.
    Admin,
}

impl Right {
    const ALL: [Right; 5] = [
        Right::Read,
        Right::Write,
        Right::Delete,
        Right::List,
        Right::Admin,
    ];

    /// The word for it, on the command line and in the file.
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Delete => "delete",
            Right::List => "list",
            Right::Admin => "admin",
        }
    }
}

/// What a token allows; at least one right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights(Vec<Right>);

impl Rights {
    /// Everything that can be done with a user's images.
    pub fn of_images() -> Rights {
        Rights(vec![Right::Read, Right::Write, Right::Delete, Right::List])
    }

    /// Understands words with commas between them.
    pub fn parse(text: &str) -> Result<Rights, Error> {
        let mut rights = Vec::new();
        for word in text.split(',') {
            let known = Right::ALL.into_iter().find(|right| right.word() == word);
            rights.push(known.ok_or_else(|| {
                Error(format!(
                    "{word:?} is no right: there are read, write, delete, list and admin, with commas between them"
                ))
            })?);
        }
        rights.sort_unstable();
        rights.dedup();
        Ok(Rights(rights))
    }

    fn allow(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|right| right.word()).collect();
        f.write_str(&words.join(","))
    }
}

/// What is wrong with a file of tokens, or with what is to be changed in it; says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

/// What is known of a token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Whose images.
    pub user: String,
    /// What may be done.
    pub rights: Rights,
    /// When it ends, in seconds since 1970; none: never.
    pub expiry: Option<u64>,
    hash: [u8; 32],
}

impl Token {
    /// Whether it allows this with images of `user`.
    pub fn allows(&self, right: Right, user: &str) -> bool {
        self.user == user && self.rights.allow(right)
    }

    /// Whether its bearer runs the cluster.
    pub fn is_admin(&self) -> bool {
        self.rights.allow(Right::Admin)
    }

    /// Whether it is not good any more.
    pub fn is_expired(&self, now_s: u64) -> bool {
        self.expiry.is_some_and(|expiry| now_s >= expiry)
    }
}

/// The tokens of a cluster, by their ids.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// Understands a file. The error names the line.
    pub fn parse(text: &str) -> Result<Tokens, Error> {
        let mut tokens = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |why: &dyn fmt::Display| Error(format!("line {number}: {why}"));
            let (id, token) = parse_line(line).map_err(|why| wrong(&why))?;
            if tokens.insert(id.to_owned(), token).is_some() {
                return Err(wrong(&format_args!("there is a token {id} already")));
            }
        }
        Ok(Tokens(tokens))
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut text = "# id user rights sha256 [expiry], see docs/security.md\n".to_owned();
        for (id, token) in &self.0 {
            let hash = base16ct::lower::encode_string(&token.hash);
            text.push_str(&format!("{id} {} {} {hash}", token.user, token.rights));
            if let Some(expiry) = token.expiry {
                text.push_str(&format!(" {expiry}"));
            }
            text.push('\n');
        }
        text
    }

    /// Adds a token that is made of `random`, and returns its id and the token itself, which cannot be had again.
    pub fn add(
        &mut self,
        random: &[u8; RANDOM_BYTES],
        user: &str,
        rights: Rights,
        expiry: Option<u64>,
    ) -> Result<(String, Zeroizing<String>), Error> {
        image_id::check_user(user).map_err(|why| Error(why.to_string()))?;
        let (id, secret) = random.split_at(ID_DIGITS / 2);
        let id = base16ct::lower::encode_string(id);
        if self.0.contains_key(&id) {
            return Err(Error(format!("there is a token {id} already: try again")));
        }
        let text = Zeroizing::new(format!(
            "{PREFIX}{id}_{}",
            *Zeroizing::new(Base64UrlUnpadded::encode_string(secret))
        ));
        let token = Token {
            user: user.to_owned(),
            rights,
            expiry,
            hash: Sha256::digest(secret).into(),
        };
        self.0.insert(id.clone(), token);
        Ok((id, text))
    }

    /// Removes a token.
    pub fn revoke(&mut self, id: &str) -> Result<Token, Error> {
        let removed = self.0.remove(id);
        removed.ok_or_else(|| Error(format!("there is no token {id}: see seal token list")))
    }

    /// Ids and tokens, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Token)> {
        self.0.iter().map(|(id, token)| (id.as_str(), token))
    }

    /// Id of a token that somebody presents, and what is known of it; `None` if it is none of these, or has expired.
    pub fn find(&self, presented: &[u8], now_s: u64) -> Option<(&str, &Token)> {
        let (id, secret) = split(presented)?;
        let (id, token) = self.0.get_key_value(id)?;
        let presented = CtOutput::<Sha256>::new(Sha256::digest(&secret[..]));
        let is_right = presented == CtOutput::new(token.hash.into());
        (is_right && !token.is_expired(now_s)).then_some((id.as_str(), token))
    }
}

/// Whether a text can be a token: who pastes half of one is told so before anybody is asked.
pub fn is_well_formed(text: &str) -> bool {
    split(text.as_bytes()).is_some()
}

/// The id and the secret of a token.
fn split(text: &[u8]) -> Option<(&str, Zeroizing<[u8; SECRET_BYTES]>)> {
    let rest = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_once('_')?;
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    let decoded = Base64UrlUnpadded::decode(secret, &mut *bytes).ok()?;
    (is_id(id) && decoded.len() == SECRET_BYTES).then_some(())?;
    Some((id, bytes))
}

fn is_id(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == ID_DIGITS && text.bytes().all(is_digit)
}

fn parse_line(line: &str) -> Result<(&str, Token), Error> {
    let wrong = |why: String| Err(Error(why));
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (id, user, rights, hash, expiry) = match words[..] {
        [id, user, rights, hash] => (id, user, rights, hash, None),
        [id, user, rights, hash, expiry] => (id, user, rights, hash, Some(expiry)),
        _ => return wrong("a token is: id user rights sha256 [expiry]".to_owned()),
    };
    if !is_id(id) {
        return wrong(format!(
            "{id:?} is no id: {ID_DIGITS} hexadecimal digits in lower case"
        ));
    }
    image_id::check_user(user).map_err(|why| Error(format!("{user:?}: {why}")))?;
    let mut bytes = [0; 32];
    // Not what is there: somebody may have put the secret in its place.
    let decoded = base16ct::lower::decode(hash, &mut bytes);
    if !decoded.is_ok_and(|decoded| decoded.len() == 32) {
        return wrong("the hash of the secret is 64 hexadecimal digits in lower case".to_owned());
    }
    let expiry = match expiry.map(str::parse) {
        None => None,
        Some(Ok(expiry)) => Some(expiry),
        Some(Err(_)) => return wrong("the expiry is a number of seconds since 1970".to_owned()),
    };
    let rights = Rights::parse(rights)?;
    let token = Token {
        user: user.to_owned(),
        rights,
        expiry,
        hash: bytes,
    };
    Ok((id, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn random(byte: u8) -> [u8; RANDOM_BYTES] {
        [byte; RANDOM_BYTES]
    }

    /// Tokens with one of alice's, which is returned as well.
    fn alices(rights: &str, expiry: Option<u64>) -> (Tokens, Zeroizing<String>) {
        let mut tokens = Tokens::default();
        let rights = Rights::parse(rights).unwrap();
        let (_, text) = tokens.add(&random(0xab), "alice", rights, expiry).unwrap();
        (tokens, text)
    }

    #[test]
    fn a_token_is_known_again_after_the_file_was_written_and_read() {
        let (tokens, text) = alices("write,read", Some(NOW + 1));
        assert!(text.starts_with("pixseal_abababab_") && is_well_formed(&text));
        let file = tokens.to_text();
        assert!(
            !file.contains(text.splitn(3, '_').nth(2).unwrap()),
            "the secret is in {file}"
        );
        let tokens = Tokens::parse(&file).unwrap();
        let (id, found) = tokens.find(text.as_bytes(), NOW).unwrap();
        assert_eq!(id, "abababab");
        assert!(found.allows(Right::Read, "alice") && found.allows(Right::Write, "alice"));
        for (right, user) in [
            (Right::Delete, "alice"),
            (Right::List, "alice"),
            (Right::Admin, "alice"),
            (Right::Read, "bob"),
            (Right::Read, "Alice"),
            (Right::Read, ""),
        ] {
            assert!(!found.allows(right, user), "{right:?} {user}");
        }
        assert!(!found.is_admin());
        assert!(tokens.find(text.as_bytes(), NOW + 1).is_none(), "it has expired");
        assert_eq!(Tokens::parse(&file).unwrap().to_text(), file);
    }

    #[test]
    fn a_changed_token_is_none() {
        let (tokens, text) = alices("read", None);
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(tokens.find(&changed, NOW).is_none(), "{at}");
        }
        for changed in [
            "",
            "pixseal_",
            "pixseal__",
            "pixseal_abababab_",
            &text[..text.len() - 1],
            &format!("{}A", *text),
            &format!("{} ", *text),
            &text.replace("ab", "AB"),
            &text[PREFIX.len()..],
            &"A".repeat(10_000),
        ] {
            assert!(tokens.find(changed.as_bytes(), NOW).is_none(), "{changed}");
        }
        assert!(tokens.find(b"pixseal_\xff", NOW).is_none());
    }

    #[test]
    fn a_revoked_token_is_none_and_others_stay() {
        let (mut tokens, text) = alices("read", None);
        let (id, admin) = tokens
            .add(&random(1), "ops", Rights::parse("admin").unwrap(), None)
            .unwrap();
        assert!(tokens.add(&random(1), "ops", Rights::of_images(), None).is_err());
        assert_eq!(tokens.revoke("abababab").unwrap().user, "alice");
        assert!(tokens.revoke("abababab").is_err());
        assert!(tokens.find(text.as_bytes(), NOW).is_none());
        assert!(tokens.find(admin.as_bytes(), NOW).unwrap().1.is_admin());
        assert_eq!(tokens.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let hash = "0".repeat(64);
        let right = format!("  # mine\n\n00000000 alice read,list {hash} 5 # until then\n");
        assert_eq!(Tokens::parse(&right).unwrap().iter().count(), 1);
        assert_eq!(Tokens::parse("").unwrap().iter().count(), 0);
        for (line, why) in [
            ("00000001 alice read".to_owned(), "a token is"),
            (format!("00000001 alice read {hash} 5 6"), "a token is"),
            (format!("0000000G alice read {hash}"), "is no id"),
            (format!("0000000A alice read {hash}"), "is no id"),
            (format!("0000001 alice read {hash}"), "is no id"),
            (format!("00000001 al.ice read {hash}"), "al.ice"),
            (format!("00000001 alice read,fly {hash}"), "\"fly\" is no right"),
            (format!("00000001 alice , {hash}"), "is no right"),
            (format!("00000001 alice read {}", &hash[1..]), "64 hexadecimal"),
            (format!("00000001 alice read {hash} -1"), "seconds since 1970"),
            (format!("00000001 alice read {hash} soon"), "seconds since 1970"),
            (format!("00000000 bob read {hash}"), "already"),
        ] {
            let refused = Tokens::parse(&format!("{right}{line}\n"))
                .unwrap_err()
                .to_string();
            assert!(
                refused.starts_with("line 4: ") && refused.contains(why),
                "{line}: {refused}"
            );
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        let (_, text) = alices("read", None);
        let refused = Tokens::parse(&format!("00000001 alice read {}", *text)).unwrap_err();
        assert!(!refused.to_string().contains(text.splitn(3, '_').nth(2).unwrap()));
    }
}
