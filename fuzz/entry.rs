//! What the fuzz targets do with the bytes they are given. `tests/fuzz.rs` does the same with proptest, on a stable
//! toolchain: that is why this file is included by path and not a crate.
//!
//! An entry never expects more than no panic, unless it says so in an assertion.

use std::io::Read;

use hmac::{Hmac, KeyInit, Mac};
use pixseal::election::datagram::ClusterKey;
use pixseal::http::body::Body;
use pixseal::http::head::{self, Framing};
use pixseal::http::inbox::Inbox;
use pixseal::http::response;
use pixseal::http::target::Target;
use pixseal::image::{self, Check, Rules};
use pixseal::image_id::ImageId;
use pixseal::keyset::Keyset;
use pixseal::roster::{NodeId, ViewId};
use pixseal::seal::{self, Header, SegmentCipher, TAG_BYTES, whole};
use pixseal::ticket::{Claims, LIFETIME_MS, Purpose, Scope, TicketKey};
use pixseal::tokens::Tokens;
use pixseal::version::Version;
use sha2::Sha256;

const OWNER: &[u8] = b"alice/cat.png";
const CLUSTER_KEY: [u8; 32] = [7; 32];

/// A PNG gets one answer, however its bytes are cut.
pub(crate) fn image(bytes: &[u8]) {
    let check = |rules: Rules, pieces: usize| -> Result<(), image::Error> {
        let mut check = Check::new(1 << 26, rules);
        bytes.chunks(pieces).try_for_each(|piece| check.feed(piece))?;
        check.finish()
    };
    for rules in [Rules::Strict, Rules::Lenient] {
        let whole = check(rules, usize::MAX);
        let pieces = 1 + bytes.last().map_or(0, |byte| usize::from(*byte));
        assert_eq!(check(rules, pieces), whole);
        assert_eq!(check(rules, 1), whole);
    }
}

/// A keyset that is accepted is written and read back the same.
pub(crate) fn keyset(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(keyset) = Keyset::parse(text) {
        let written = keyset.to_json();
        let again =
            Keyset::parse(std::str::from_utf8(&written).expect("JSON is UTF-8")).expect("our own text");
        assert!(*again.to_json() == *written);
    }
}

/// A file of tokens that is accepted is written and read back the same. None of its lines is a token, and neither is
/// anything else that is not the secret: the hash of what is presented would have to be in the file.
pub(crate) fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tokens) = Tokens::parse(text) {
        let written = tokens.to_text();
        let again = Tokens::parse(&written).expect("our own text");
        assert_eq!(again.to_text(), written);
        for line in text.lines().chain(text.split_whitespace()) {
            assert!(tokens.find(line.as_bytes(), 0).is_none());
        }
    }
}

/// Any bytes instead of a ticket are none, and neither is a ticket with any of its bytes changed, cut or added. The first
/// byte says what the ticket is for, every two that follow change a byte of it, a last one cuts it.
pub(crate) fn ticket(bytes: &[u8]) {
    let key = TicketKey::new(&CLUSTER_KEY);
    let id = ImageId::new("alice", "cat.png").expect("a good name");
    let (scope, node) = (Scope::image("PUT", &id), NodeId(1));
    let verify = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        key.verify(text, node, scope, 0)
    };
    assert!(verify(bytes).is_none());

    let Some((purpose, changes)) = bytes.split_first() else {
        return;
    };
    let claims = Claims {
        purpose: [
            Purpose::Redirect,
            Purpose::AuthorizedRedirect,
            Purpose::HandOver,
            Purpose::Read,
        ][usize::from(*purpose) % 4],
        node,
        view: ViewId::default(),
        hops: 1,
        expiry_ms: LIFETIME_MS,
        version: Version::default(),
    };
    let ticket = key.sign(&claims, scope).into_bytes();
    let mut changed = ticket.clone();
    let (changes, length) = changes.as_chunks::<2>();
    for [at, mask] in changes {
        let at = usize::from(*at) % ticket.len();
        changed[at] ^= mask;
    }
    if let [cut] = length {
        changed.truncate(ticket.len() - usize::from(*cut) % ticket.len());
    }
    assert_eq!(verify(&changed).is_some(), changed == ticket);
}

/// Any bytes instead of a file are forged, and so is a file with any byte of it changed, cut or added. The first two
/// bytes are the size of a plaintext; every three that follow change a byte of its file, the last ones its length.
pub(crate) fn open_sealed(bytes: &[u8]) {
    let keyset = Keyset::new(&[3; 36].into());
    let open = |mut file: &[u8]| whole::open(&keyset, OWNER, &mut file, &mut std::io::sink());
    assert!(matches!(open(bytes), Err(whole::Error::Forged)));

    let Some((size, changes)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let size = usize::from(u16::from_be_bytes(*size)) % 3000;
    let header = Header::of([5; seal::SALT_AND_PREFIX_BYTES]);
    let mut segment = vec![9; size + TAG_BYTES];
    SegmentCipher::new(keyset.primary(), &header, OWNER).seal(0, true, &mut segment);
    let file = [&header.encode()[..], &segment].concat();
    let mut changed = file.clone();
    let (changes, length) = changes.as_chunks::<3>();
    for [high, low, mask] in changes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % file.len();
        changed[at] ^= mask;
    }
    match length {
        [cut] => changed.truncate(file.len() - usize::from(*cut) % file.len()),
        [byte, count] => changed.resize(file.len() + usize::from(*count), *byte),
        _ => {}
    }
    match open(&changed) {
        Ok(plain) => assert!(changed == file && plain == size as u64),
        Err(whole::Error::Forged) => assert!(changed != file),
        Err(other) => panic!("{other}"),
    }
}

/// Any bytes at all are dropped or understood; an authentic datagram says the same when it is said again. The bytes
/// are tried as they are, and as header fields and body of a datagram with the right key, length and tag: returns whether
/// that is one.
pub(crate) fn datagram(bytes: &[u8]) -> bool {
    let key = ClusterKey::new(&CLUSTER_KEY);
    let _ = key.decode(bytes);

    let Some((fields, body)) = bytes.split_first_chunk::<112>() else {
        return false;
    };
    let Ok(length) = u16::try_from(body.len()) else {
        return false;
    };
    let mac = Hmac::<Sha256>::new_from_slice(&CLUSTER_KEY).expect("HMAC takes keys of any length");
    let name = mac
        .clone()
        .chain_update(b"pixseal cluster name")
        .finalize()
        .into_bytes();
    let mut signed = [&b"pxs\x04"[..], &name[..8], fields, &length.to_be_bytes(), body].concat();
    let tag = mac.chain_update(&signed).finalize().into_bytes();
    signed.extend(tag);
    let Ok(datagram) = key.decode(&signed) else {
        return false;
    };
    assert_eq!(key.decode(&key.encode(&datagram)), Ok(datagram));
    true
}

/// A head is complete at one place only: every shorter beginning of it asks for more, and what follows it changes
/// nothing. Targets and the heads of answers get the same bytes.
pub(crate) fn http_head(bytes: &[u8]) {
    if let Ok(Some((head, length))) = head::parse(bytes) {
        for end in [length / 3, length / 2, length.saturating_sub(1)] {
            assert!(matches!(head::parse(&bytes[..end]), Ok(None)), "cut to {end}");
        }
        let alone = head::parse(&bytes[..length]);
        assert!(matches!(alone, Ok(Some((again, n))) if n == length && again.framing == head.framing));
        let _ = Target::parse(head.target);
    }
    let _ = response::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Target::parse(text);
    }
}

/// A body has the same content and the same end, however its bytes arrive.
pub(crate) fn http_body(bytes: &[u8]) {
    let whole = content(bytes, usize::MAX);
    for step in [1, 2, 7] {
        assert_eq!(content(bytes, step), whole, "{step} bytes at a time");
    }
}

/// Content and what follows the body, or `None` if the body is malformed or does not end.
fn content(bytes: &[u8], step: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut wire = Steps { left: bytes, step };
    let (mut inbox, mut body) = (Inbox::default(), Body::new(Framing::Chunked));
    let (mut content, mut room) = (Vec::new(), [0; 100]);
    loop {
        match body.read(&mut inbox, &mut wire, &mut room).ok()? {
            0 => return Some((content, [inbox.unread(), wire.left].concat())),
            count => content.extend(&room[..count]),
        }
    }
}

/// Gives `step` bytes at a time.
struct Steps<'b> {
    left: &'b [u8],
    step: usize,
}

impl Read for Steps<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let count = self.step.min(room.len()).min(self.left.len());
        let (now, later) = self.left.split_at(count);
        room[..count].copy_from_slice(now);
        self.left = later;
        Ok(count)
    }
}
