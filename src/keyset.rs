//! The keys that images are sealed with: a Tink cleartext keyset in JSON, and nothing else that Tink can hold.
//!
//! One key is the primary: it seals. Every enabled key opens. Disabled keys are kept but not used; of a
//! destroyed key only its number is left. The file is what `tinkey` and every Tink library write:
//!
//! ```text
//! { "primaryKeyId": 491760720,
//!   "key": [ { "keyData": { "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
//!                           "value": base64 of the serialized key,
//!                           "keyMaterialType": "SYMMETRIC" },
//!              "status": "ENABLED", "keyId": 491760720, "outputPrefixType": "RAW" } ] }
//! ```
//!
//! The serialized key is a protocol buffer whose first 12 bytes are the parameters of the one template we
//! know, `AES256_GCM_HKDF_1MB`, so comparing them stands in for a protobuf parser:
//!
//! ```text
//! 12 08                      field 2, parameters, 8 bytes
//!       08 80 80 40          ciphertext segment size 1,048,576
//!       10 20                derived key size 32
//!       18 03                HKDF hash SHA-256
//! 1a 20                      field 3, key value, 32 bytes, which follow
//! ```
//!
//! Knows no files and draws no random numbers: both come from `secrets`.

use std::fmt;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of key material in a [`Key`].
pub(crate) const KEY_BYTES: usize = 32;
/// The most keys that a keyset may hold.
pub(crate) const KEYS_MAX: usize = 64;
/// The longest text that [`Keyset::parse`] looks at; `KEYS_MAX` keys, generously indented, are half of it.
pub(crate) const JSON_BYTES_MAX: usize = 64 * 1024;
/// The random bytes that a new key is made of: its material and its number.
pub(crate) const RANDOM_BYTES: usize = KEY_BYTES + 4;

const TYPE_URL: &str = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey";
const TEMPLATE: [u8; 12] = [
    0x12, 0x08, 0x08, 0x80, 0x80, 0x40, 0x10, 0x20, 0x18, 0x03, 0x1a, 0x20,
];
/// What one key takes in [`Keyset::to_json`], rounded up.
const JSON_KEY_BYTES: usize = 512;

/// The secret that the keys of each file are derived from. Wiped from memory when dropped; cannot be printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// Takes 32 bytes that nobody else knows.
    pub fn new(material: [u8; KEY_BYTES]) -> Key {
        Key(Zeroizing::new(material))
    }

    /// A number by which nodes that share `secret` know whether they have the same key, and that tells nobody else anything.
    pub(crate) fn fingerprint(&self, secret: &[u8; 32]) -> u64 {
        let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        let tag = mac
            .chain_update(b"pixseal image key")
            .chain_update(self.0.as_slice())
            .finalize()
            .into_bytes();
        u64::from_be_bytes(*tag.first_chunk().expect("a SHA-256 tag has 32 bytes"))
    }

    /// The input keying material of HKDF.
    pub(crate) fn material(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyStatus {
    /// Opens, and seals if it is the primary.
    Enabled,
    /// Kept, but not used.
    Disabled,
    /// Only its number is left.
    Destroyed,
}

/// At least one enabled key, and which of them seals. Cannot be printed.
#[derive(Clone)]
pub struct Keyset {
    primary: u32,
    entries: Vec<KeyEntry>,
}

#[derive(Clone)]
struct KeyEntry {
    id: u32,
    status: KeyStatus,
    /// `None` only where the status is `Destroyed`.
    key: Option<Key>,
}

/// Why a keyset was refused. Its text never holds key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeysetJson {
    primary_key_id: u32,
    key: Vec<KeyJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_data: Option<KeyDataJson>,
    status: KeyStatus,
    key_id: u32,
    output_prefix_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyDataJson {
    type_url: String,
    value: Zeroizing<String>,
    key_material_type: String,
}

impl Keyset {
    /// One new key, which is the primary. All of its secrecy is in `random`.
    pub fn new(random: &Zeroizing<[u8; RANDOM_BYTES]>) -> Keyset {
        let mut keyset = Keyset {
            primary: 0,
            entries: Vec::new(),
        };
        keyset.primary = keyset.push(random);
        keyset
    }

    /// Adds a new enabled key and returns its number. It opens; it seals once it is [`promote`](Keyset::promote)d,
    /// which is safe when every node has loaded it.
    pub fn add(&mut self, random: &Zeroizing<[u8; RANDOM_BYTES]>) -> Result<u32, Error> {
        if self.entries.len() >= KEYS_MAX {
            return refuse(format!("the keyset is full: it has {KEYS_MAX} keys"));
        }
        Ok(self.push(random))
    }

    /// Makes an enabled key the one that seals.
    pub fn promote(&mut self, id: u32) -> Result<(), Error> {
        match self.entries.iter().find(|entry| entry.id == id) {
            Some(entry) if entry.status == KeyStatus::Enabled => {
                self.primary = id;
                Ok(())
            }
            Some(_) => refuse(format!("key {id} is not enabled")),
            None => refuse(format!("there is no key {id}")),
        }
    }

    /// Reads the text of a keyset file. Whatever is not exactly our kind of key is refused, so that a key is
    /// never used in a way that it was not made for.
    pub fn parse(json: &str) -> Result<Keyset, Error> {
        if json.len() > JSON_BYTES_MAX {
            return refuse(format!("a keyset has at most {JSON_BYTES_MAX} bytes"));
        }
        // The message of serde_json quotes the text that it refused, which may be a key: only its position is reported.
        let file: KeysetJson = serde_json::from_str(json).map_err(|e| {
            Error(format!(
                "not a Tink JSON keyset (line {}, column {})",
                e.line(),
                e.column()
            ))
        })?;
        if file.key.len() > KEYS_MAX {
            return refuse(format!("a keyset has at most {KEYS_MAX} keys"));
        }
        let mut entries: Vec<KeyEntry> = Vec::with_capacity(file.key.len());
        for key in &file.key {
            if entries.iter().any(|entry| entry.id == key.key_id) {
                return refuse(format!("key {} is there twice", key.key_id));
            }
            entries.push(entry(key)?);
        }
        let mut keyset = Keyset { primary: 0, entries };
        keyset
            .promote(file.primary_key_id)
            .map_err(|why| Error(format!("the primary: {why}")))?;
        Ok(keyset)
    }

    /// The text that [`parse`](Keyset::parse) and every Tink library read, with a newline at its end.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let file = KeysetJson {
            primary_key_id: self.primary,
            key: self.entries.iter().map(key_json).collect(),
        };
        // Allocated with its final capacity: it never moves, so no copy is left that is not wiped.
        let mut text = Zeroizing::new(Vec::with_capacity(JSON_KEY_BYTES * (1 + self.entries.len())));
        serde_json::to_writer_pretty(&mut *text, &file).expect("a keyset has nothing that JSON cannot hold");
        text.push(b'\n');
        text
    }

    /// The key that seals.
    pub fn primary(&self) -> &Key {
        let found = self.entries.iter().find(|entry| entry.id == self.primary);
        found
            .and_then(|entry| entry.key.as_ref())
            .expect("a primary is enabled, and has its key")
    }

    /// The number of the key that seals.
    pub fn primary_id(&self) -> u32 {
        self.primary
    }

    /// Every key that opens; the primary, which fits most often, comes first.
    pub fn enabled(&self) -> impl Iterator<Item = &Key> {
        let others = self
            .entries
            .iter()
            .filter(|entry| entry.status == KeyStatus::Enabled && entry.id != self.primary);
        std::iter::once(self.primary()).chain(others.filter_map(|entry| entry.key.as_ref()))
    }

    /// See [`Key::fingerprint`]; the primary key's comes first.
    pub(crate) fn fingerprints(&self, secret: &[u8; 32]) -> Vec<u64> {
        self.enabled().map(|key| key.fingerprint(secret)).collect()
    }

    /// Number and status of every key, in the order of the file.
    pub fn list(&self) -> impl Iterator<Item = (u32, KeyStatus)> {
        self.entries.iter().map(|entry| (entry.id, entry.status))
    }

    fn push(&mut self, random: &Zeroizing<[u8; RANDOM_BYTES]>) -> u32 {
        let (material, number) = random.split_at(KEY_BYTES);
        let mut id = u32::from_be_bytes(number.try_into().expect("four bytes are left"));
        // Tink takes 0 for "no number".
        while id == 0 || self.entries.iter().any(|entry| entry.id == id) {
            id = id.wrapping_add(1);
        }
        let key = Key::new(material.try_into().expect("split there"));
        self.entries.push(KeyEntry {
            id,
            status: KeyStatus::Enabled,
            key: Some(key),
        });
        id
    }
}

fn entry(json: &KeyJson) -> Result<KeyEntry, Error> {
    let key = match (&json.key_data, json.status) {
        (_, KeyStatus::Destroyed) => None,
        (Some(data), _) => Some(key(data, json).map_err(|why| Error(format!("key {}: {why}", json.key_id)))?),
        (None, _) => return refuse(format!("key {} has no keyData", json.key_id)),
    };
    Ok(KeyEntry {
        id: json.key_id,
        status: json.status,
        key,
    })
}

fn key(data: &KeyDataJson, json: &KeyJson) -> Result<Key, Error> {
    if data.type_url != TYPE_URL {
        return refuse(format!("not a key of {TYPE_URL}"));
    }
    if json.output_prefix_type != "RAW" || data.key_material_type != "SYMMETRIC" {
        return refuse("outputPrefixType is not RAW, or keyMaterialType not SYMMETRIC".to_owned());
    }
    let mut buf = Zeroizing::new([0; TEMPLATE.len() + KEY_BYTES]);
    let bytes = Base64::decode(data.value.as_bytes(), &mut *buf)
        .map_err(|_| Error("its value is not base64, or too long".to_owned()))?;
    match bytes.strip_prefix(&TEMPLATE).and_then(|key| key.try_into().ok()) {
        Some(material) => Ok(Key::new(material)),
        None => refuse("not made from the template AES256_GCM_HKDF_1MB".to_owned()),
    }
}

fn key_json(entry: &KeyEntry) -> KeyJson {
    let data = entry.key.as_ref().map(|key| {
        let mut bytes = Zeroizing::new([0; TEMPLATE.len() + KEY_BYTES]);
        bytes[..TEMPLATE.len()].copy_from_slice(&TEMPLATE);
        bytes[TEMPLATE.len()..].copy_from_slice(key.material());
        KeyDataJson {
            type_url: TYPE_URL.to_owned(),
            value: Zeroizing::new(Base64::encode_string(&*bytes)),
            key_material_type: "SYMMETRIC".to_owned(),
        }
    });
    KeyJson {
        key_data: data,
        status: entry.status,
        key_id: entry.id,
        output_prefix_type: "RAW".to_owned(),
    }
}

fn refuse<T>(why: String) -> Result<T, Error> {
    Err(Error(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER_TYPE: &str = "type.googleapis.com/google.crypto.tink.AesCtrHmacStreamingKey";

    fn random(byte: u8, id: u32) -> Zeroizing<[u8; RANDOM_BYTES]> {
        let mut random = Zeroizing::new([byte; RANDOM_BYTES]);
        random[KEY_BYTES..].copy_from_slice(&id.to_be_bytes());
        random
    }

    /// Keys 1 (primary), 2, and with them the JSON text.
    fn two() -> (Keyset, String) {
        let mut keyset = Keyset::new(&random(7, 1));
        assert_eq!(keyset.add(&random(8, 2)), Ok(2));
        let json = String::from_utf8(keyset.to_json().to_vec()).unwrap();
        (keyset, json)
    }

    fn refusal(json: &str) -> String {
        Keyset::parse(json).err().expect("must be refused").to_string()
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let (_, json) = two();
        let read = Keyset::parse(&json).unwrap();
        assert_eq!(read.to_json().as_slice(), json.as_bytes());
        assert_eq!(read.primary_id(), 1);
        assert_eq!(read.primary().material(), &[7; 32]);
        let enabled: Vec<_> = read.enabled().map(|key| key.material()[0]).collect();
        assert_eq!(enabled, [7, 8]);
    }

    #[test]
    fn a_promoted_key_seals_and_the_old_one_still_opens() {
        let (mut keyset, _) = two();
        keyset.promote(2).unwrap();
        let enabled: Vec<_> = keyset.enabled().map(|key| key.material()[0]).collect();
        assert_eq!(enabled, [8, 7]);
        assert!(keyset.promote(3).is_err());
    }

    #[test]
    fn numbers_of_keys_are_never_zero_and_never_given_twice() {
        let mut keyset = Keyset::new(&random(1, 0));
        assert_eq!(keyset.add(&random(2, 1)), Ok(2));
        assert_eq!(keyset.add(&random(3, u32::MAX)), Ok(u32::MAX));
        assert_eq!(keyset.add(&random(4, u32::MAX)), Ok(3));
        for _ in keyset.list().count()..KEYS_MAX {
            keyset.add(&random(5, 9)).unwrap();
        }
        assert!(keyset.add(&random(6, 99)).is_err());
        let json = String::from_utf8(keyset.to_json().to_vec()).unwrap();
        assert!(json.len() < JSON_BYTES_MAX && json.len() < JSON_KEY_BYTES * KEYS_MAX);
        assert_eq!(Keyset::parse(&json).unwrap().list().count(), KEYS_MAX);
        let one_more = r#""key": [{"status": "DESTROYED", "keyId": 77, "outputPrefixType": "RAW"},"#;
        let crowded = json.replacen("\"key\": [", one_more, 1);
        assert_eq!(refusal(&crowded), format!("a keyset has at most {KEYS_MAX} keys"));
    }

    #[test]
    fn disabled_and_destroyed_keys_are_kept_but_not_used() {
        let (_, json) = two();
        let (first, second) = json.rsplit_once("ENABLED").unwrap();
        let disabled = format!("{first}DISABLED{second}");
        let keyset = Keyset::parse(&disabled).unwrap();
        assert_eq!(keyset.enabled().count(), 1);
        assert_eq!(keyset.to_json().as_slice(), disabled.as_bytes());

        let destroyed = r#"{"primaryKeyId": 1, "key": [KEY,
            {"status": "DESTROYED", "keyId": 5, "outputPrefixType": "RAW"}]}"#;
        let first_key = &json[json.find('[').unwrap() + 1..json.find("\n    },").unwrap() + 6];
        let keyset = Keyset::parse(&destroyed.replace("KEY,", &format!("{first_key},"))).unwrap();
        let list: Vec<_> = keyset.list().collect();
        assert_eq!(list, [(1, KeyStatus::Enabled), (5, KeyStatus::Destroyed)]);
    }

    #[test]
    fn base64_that_json_has_escaped_is_read() {
        let (_, json) = two();
        let escaped = json.replace('=', "\\u003d");
        assert_ne!(escaped, json);
        assert_eq!(
            Keyset::parse(&escaped).unwrap().to_json().as_slice(),
            json.as_bytes()
        );
    }

    #[test]
    fn anything_but_our_template_is_refused_with_a_reason() {
        let (_, json) = two();
        let value_at = json.find("EggI").expect("base64 of the template begins so");
        let value = &json[value_at..value_at + 60];
        let edit = |from: &str, to: &str| json.replacen(from, to, 1);
        for (text, reason) in [
            (String::new(), "line 1"),
            ("[]".to_owned(), "not a Tink JSON keyset"),
            (edit("primaryKeyId", "primary"), "not a Tink JSON keyset"),
            (edit("\"key\"", "\"keys\""), "not a Tink JSON keyset"),
            (
                edit("\"primaryKeyId\": 1", "\"primaryKeyId\": 3"),
                "the primary: there is no key 3",
            ),
            (edit("\"keyId\": 2", "\"keyId\": 1"), "key 1 is there twice"),
            (edit("ENABLED", "DISABLED"), "the primary: key 1 is not enabled"),
            (edit("ENABLED", "UNKNOWN_STATUS"), "not a Tink JSON keyset"),
            (edit("RAW", "TINK"), "key 1: outputPrefixType is not RAW"),
            (edit("SYMMETRIC", "REMOTE"), "keyMaterialType"),
            (edit(TYPE_URL, OTHER_TYPE), "key 1: not a key of"),
            (
                edit(value, "EggIgIBAECAYAxog"),
                "key 1: not made from the template",
            ),
            (edit(value, &value[..56]), "key 1: not made from the template"),
            (edit("EggI", "EggJ"), "key 1: not made from the template"),
            (
                edit(value, &value.repeat(2)),
                "key 1: its value is not base64, or too long",
            ),
            (edit(value, "EggI*"), "key 1: its value is not base64"),
            (" ".repeat(JSON_BYTES_MAX + 1), "at most"),
        ] {
            let refusal = refusal(&text);
            assert!(refusal.contains(reason), "{text:.400} gave {refusal:?}");
            assert!(!refusal.contains("EggI"), "{refusal:?} tells a key");
        }
    }
}
