//! HTML of any page: escaped text, and lists of it.

use std::fmt::{self, Write};

pub(crate) fn list<'a>(
    out: &mut String,
    class: &str,
    items: impl Iterator<Item = &'a String>,
) -> fmt::Result {
    write!(out, "<ul class=\"{class}\">")?;
    for item in items {
        write!(out, "<li>{}</li>", escape(item))?;
    }
    write!(out, "</ul>")
}

/// Text for HTML and for attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
