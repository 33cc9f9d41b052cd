//! The entity tag of a sealed file.

use crate::seal::Header;

/// Of the file with this header, with its quotes: the first half of the salt, which holds the version of the write. So
/// the tag changes with every upload, also with one of the same bytes.
pub(crate) fn etag(header: &Header) -> String {
    let tag = base16ct::lower::encode_string(&header.encode()[1..=16]);
    ["\"", &tag, "\""].concat()
}
