//! A page of a listing as HTML, for text browsers and for programs that read links. It has no script, and nothing in it that a
//! client has sent goes in unescaped.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use httpdate::HttpDate;
use sha2::{Digest, Sha256};

use crate::http::target::encode;
use crate::node::find::Reach;
use crate::node::list::List;
use crate::report::{Item, Page};
use crate::roster::NodeId;

const STYLE: &str = "body{font-family:sans-serif}td,th{padding:0 1em 0 0;text-align:left}\
    td.bytes{text-align:right}.missing{font-weight:bold}";

const MEMORY: &str = "writing to memory does not fail";

/// What a row of a name of ordinary length takes.
const ROW_BYTES: usize = 160;

/// What a browser may do with the page: show it, in this style.
pub(crate) fn policy() -> String {
    let hash = Base64::encode_string(&Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page, which was asked for with `list`. Its links are relative to the address of the list.
pub(crate) fn page(page: &Page, list: &List) -> String {
    let title = format!("Images of {}", escaped(&page.user));
    let mut html = String::with_capacity(1024 + ROW_BYTES * page.images.len());
    write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
    .expect(MEMORY);
    if !page.missing.is_empty() {
        missing(&mut html, &page.missing);
    }
    match page.images.is_empty() {
        true => html.push_str("<p>No images on this page.</p>\n"),
        false => table(&mut html, &page.images),
    }
    if let Some(next) = &page.next {
        let query = next_query(next, list);
        writeln!(html, "<p><a href=\"{query}\" rel=\"next\">Next page</a></p>").expect(MEMORY);
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn missing(html: &mut String, nodes: &[NodeId]) {
    let names: Vec<String> = nodes.iter().map(|id| format!("Node {id}")).collect();
    writeln!(
        html,
        "<p class=\"missing\">This list is not complete: {} could not be asked. Images that only such a node holds are left \
         out, and so are those of which it may hold a newer version.</p>",
        names.join(", "),
    )
    .expect(MEMORY);
}

fn table(html: &mut String, images: &[Item]) {
    html.push_str("<table>\n<tr><th>Name</th><th>Bytes</th><th>Date (UTC)</th><th>Node</th></tr>\n");
    for image in images {
        let node = image.node.map_or_else(String::new, |node| node.to_string());
        let modified = UNIX_EPOCH.checked_add(Duration::from_secs(image.modified));
        writeln!(
            html,
            "<tr><td><a href=\"{}\">{}</a></td><td class=\"bytes\">{}</td><td>{}</td><td>{node}</td></tr>",
            encode(&image.name),
            escaped(&image.name),
            image.bytes,
            HttpDate::from(modified.unwrap_or(UNIX_EPOCH)),
        )
        .expect(MEMORY);
    }
    html.push_str("</table>\n");
}

/// The query of the next page, as an attribute.
fn next_query(next: &str, list: &List) -> String {
    let local = match list.reach {
        Reach::Local => "local&amp;",
        Reach::Everywhere => "",
    };
    format!("?{local}limit={}&amp;after={}", list.limit, encode(next))
}

/// Text as HTML, in an element or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(reach: Reach, limit: usize) -> List {
        List {
            user: "alice".to_owned(),
            reach,
            tombstones: false,
            after: String::new(),
            limit,
        }
    }

    fn image(name: &str) -> Item {
        Item {
            name: name.to_owned(),
            bytes: 1234,
            modified: 1_790_000_000,
            node: Some(NodeId(2)),
            version: None,
            deleted: false,
        }
    }

    #[test]
    fn a_row_has_link_size_date_and_node() {
        let shown = Page {
            user: "alice".to_owned(),
            images: vec![image("cat.png")],
            ..Page::default()
        };
        let html = page(&shown, &list(Reach::Everywhere, 1000));
        assert!(
            html.contains(
                "<tr><td><a href=\"cat.png\">cat.png</a></td><td class=\"bytes\">1234</td>\
                 <td>Mon, 21 Sep 2026 14:13:20 GMT</td><td>2</td></tr>"
            ),
            "{html}"
        );
        assert!(!html.contains("Next page") && !html.contains("not complete"));
    }

    #[test]
    fn no_name_gets_out_of_its_place() {
        let hostile = "javascript:x/../ä\"'<b>&amp;%41?q#f.png";
        let shown = Page {
            user: "<alice>".to_owned(),
            images: vec![image(hostile)],
            next: Some(hostile.to_owned()),
            ..Page::default()
        };
        let html = page(&shown, &list(Reach::Everywhere, 7));
        let link = "javascript%3Ax%2F..%2F%C3%A4%22%27%3Cb%3E%26amp%3B%2541%3Fq%23f.png";
        assert!(
            html.contains(&format!(
                "<a href=\"{link}\">javascript:x/../ä&quot;&#39;&lt;b&gt;&amp;amp;%41?q#f.png</a>"
            )),
            "{html}"
        );
        assert!(html.contains(&format!("<a href=\"?limit=7&amp;after={link}\" rel=\"next\">")));
        assert!(html.contains("<h1>Images of &lt;alice&gt;</h1>"));
    }

    #[test]
    fn the_next_page_is_of_the_same_kind() {
        assert_eq!(
            next_query("a.png", &list(Reach::Local, 3)),
            "?local&amp;limit=3&amp;after=a.png"
        );
    }

    #[test]
    fn what_is_missing_is_said_in_words() {
        for (missing, said) in [
            (vec![NodeId(3)], "not complete: Node 3 could not be asked."),
            (
                vec![NodeId(1), NodeId(3)],
                "not complete: Node 1, Node 3 could not be asked.",
            ),
        ] {
            let shown = Page {
                missing,
                ..Page::default()
            };
            let html = page(&shown, &list(Reach::Everywhere, 10));
            assert!(
                html.contains(said) && html.contains("No images on this page."),
                "{html}"
            );
        }
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        let html = page(&Page::default(), &list(Reach::Everywhere, 10));
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = Base64::encode_string(&Sha256::digest(style));
        assert!(policy().starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")));
    }
}
