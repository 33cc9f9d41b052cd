//! A whole sealed file, from any reader to any writer, in the memory of one segment.
//!
//! Needs neither the length of the file nor a second look at it, so it reads pipes as well. Whoever knows the length,
//! wants a part only, or has several cores for one file, uses [`SegmentCipher`] itself.

use std::fmt;
use std::io::{self, Read, Write};

use super::{HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher, TAG_BYTES, segment_plain_bytes};
use crate::keyset::Keyset;
use crate::seal;

/// Why a file was not opened to its end. What the sink has received until then is verified plaintext, but only a
/// beginning of it.
#[derive(Debug)]
pub enum Error {
    /// The file does not hold what was sealed under this name.
    Forged,
    /// The source gave no more bytes.
    Read(io::Error),
    /// The sink took no more bytes.
    Write(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Forged => seal::Error.fmt(f),
            Error::Read(e) => write!(f, "cannot read: {e}"),
            Error::Write(e) => write!(f, "cannot write: {e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<seal::Error> for Error {
    fn from(_: seal::Error) -> Error {
        Error::Forged
    }
}

/// Opens everything in `source` and returns the bytes of plaintext that went into `sink`. Each segment is verified
/// before any of it is written. A file that was cut short shows it only at the cut: until this function has returned
/// `Ok`, the sink holds a beginning that may lack its end.
pub fn open(
    keyset: &Keyset,
    associated_data: &[u8],
    source: &mut impl Read,
    sink: &mut impl Write,
) -> Result<u64, Error> {
    let mut header = [0; HEADER_BYTES];
    if fill(source, &mut header)? < HEADER_BYTES {
        return Err(Error::Forged);
    }
    let header = Header::parse(&header)?;
    // One byte behind a full segment tells that another follows.
    let mut buf = vec![0; SEGMENT_BYTES + 1];
    let mut held = 0;
    let mut cipher = None;
    let mut plain = 0;
    for index in 0..=u32::MAX {
        let full = segment_plain_bytes(index) + TAG_BYTES;
        held += fill(source, &mut buf[held..=full])?;
        let last = held <= full;
        let segment = &mut buf[..held.min(full)];
        match &cipher {
            Some(cipher) => SegmentCipher::open(cipher, index, last, segment)?,
            None => {
                let found = SegmentCipher::open_with_any_key(
                    keyset.enabled(),
                    &header,
                    associated_data,
                    index,
                    last,
                    segment,
                );
                cipher = Some(found?);
            }
        }
        let text = &segment[..segment.len() - TAG_BYTES];
        sink.write_all(text).map_err(Error::Write)?;
        plain += text.len() as u64;
        if last {
            return Ok(plain);
        }
        buf[0] = buf[full];
        held = 1;
    }
    Err(Error::Forged)
}

/// Reads until `buf` is full or the source has ended; how many bytes there were.
fn fill(source: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::Read(e)),
        }
    }
    Ok(filled)
}
