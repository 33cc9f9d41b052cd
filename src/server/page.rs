//! The page of a node: `GET /` for a browser.
//!
//! Three sources, put together once, and sent with a policy that runs these and nothing else. What the page shows it fetches
//! itself: only where the other nodes are comes with it, so that it can move to one of them when this node dies.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use super::service::Service;
use super::status;
use crate::http::answer::Answer;
use crate::members::Members;

const MARKUP: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/style.css");
const SCRIPT: &str = include_str!("../page/script.js");

/// Where the parts go, and what is told of the node.
const STYLE_HERE: &str = "{{style}}";
const SCRIPT_HERE: &str = "{{script}}";
const NODE_HERE: &str = "{{node}}";
const ACCESS_HERE: &str = "{{access}}";
const ORIGINS_HERE: &str = "{{origins}}";
const SUMMARY_HERE: &str = "{{summary}}";

/// What comes before the node is told of, and what is the same for all nodes.
struct Parts {
    /// Markup with style and script in it.
    whole: String,
    /// `'sha256-…'` of each.
    style_hash: String,
    script_hash: String,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts {
    whole: MARKUP.replace(STYLE_HERE, STYLE).replace(SCRIPT_HERE, SCRIPT),
    style_hash: hash(STYLE),
    script_hash: hash(SCRIPT),
});

fn hash(block: &str) -> String {
    let digest = Sha256::digest(block.as_bytes());
    format!("'sha256-{}'", Base64::encode_string(digest.as_slice()))
}

/// `GET /`, for a browser.
pub(crate) fn answer(service: &Service) -> Answer {
    let node = &service.node;
    let (members, scheme) = (node.members(), node.scheme());
    let access = match service.access.load().tokens {
        Some(_) => "tokens",
        None => "open",
    };
    let page = PARTS
        .whole
        .replacen(NODE_HERE, &node.id.to_string(), 1)
        .replacen(ACCESS_HERE, access, 1)
        .replacen(ORIGINS_HERE, &origins(&members, scheme), 1)
        .replacen(SUMMARY_HERE, &status::summary(node), 1);
    Answer::empty(200)
        .content("text/html; charset=utf-8", page)
        .field("Content-Security-Policy", policy(&members, scheme))
        .field("X-Content-Type-Options", "nosniff")
        .field("Referrer-Policy", "no-referrer")
        .field("Cache-Control", "no-store")
        .field("Vary", "Accept")
}

/// `1=http://127.0.0.1:8001 2=…`. Addresses and URLs hold neither spaces nor quotes.
fn origins(members: &Members, scheme: &str) -> String {
    let mut origins = String::new();
    for id in members.ids() {
        let base = members.base_url(id, scheme).unwrap_or_default();
        write!(origins, "{id}={base} ").expect("writing to memory does not fail");
    }
    origins.trim_end().to_owned()
}

/// Whether another node is there is all that the page may ask of another origin.
fn policy(members: &Members, scheme: &str) -> String {
    let bases = members.ids().filter_map(|id| members.base_url(id, scheme));
    let sources: Vec<String> = bases.map(|base| source(&base)).collect();
    let Parts {
        style_hash,
        script_hash,
        ..
    } = &*PARTS;
    format!(
        "default-src 'none'; script-src {script_hash}; style-src {style_hash}; img-src 'self' blob:; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        sources.join(" ")
    )
}

/// CSP has no way to name an IPv6 address (CSP level 3, section 2.3.1): its port at any host stands for it.
fn source(base: &str) -> String {
    match base.split_once("://") {
        Some((scheme, authority)) if authority.starts_with('[') => {
            let port = authority.rsplit_once("]:").map(|(_, port)| port);
            let port = port.unwrap_or(if scheme == "https" { "443" } else { "80" });
            format!("{scheme}://*:{port}")
        }
        _ => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Style, script and all that is told of a node.
    const PAGE_BYTES_MAX: usize = 80_000;

    /// What a browser hashes: all between the tags.
    fn block<'p>(page: &'p str, tag: &str) -> &'p str {
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        rest.split_once(&format!("</{tag}>")).unwrap().0
    }

    #[test]
    fn the_page_is_small_and_its_policy_names_what_is_in_it() {
        let page = &PARTS.whole;
        assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
        assert_eq!(hash(block(page, "style")), PARTS.style_hash);
        assert_eq!(hash(block(page, "script")), PARTS.script_hash);
        for mark in [STYLE_HERE, SCRIPT_HERE] {
            assert!(!page.contains(mark), "{mark}");
        }
        for mark in [NODE_HERE, ACCESS_HERE, ORIGINS_HERE, SUMMARY_HERE] {
            assert_eq!(page.matches(mark).count(), 1, "{mark}");
        }
    }

    #[test]
    fn there_is_nothing_in_the_page_that_its_policy_would_block() {
        let markup = MARKUP.to_ascii_lowercase();
        for blocked in [
            " style=",
            " onclick=",
            " src=",
            "javascript:",
            "@import",
            "http://",
            "https://",
        ] {
            assert!(!markup.contains(blocked), "{blocked}");
        }
        assert_eq!(markup.matches("<script").count(), 1);
        assert_eq!(markup.matches("<style").count(), 1);
        for unsafe_word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!SCRIPT.contains(unsafe_word), "{unsafe_word}");
        }
    }

    #[test]
    fn other_nodes_may_be_asked_and_no_other_site() {
        let members = Members::parse(
            "[nodes]\n1 = \"127.0.0.1:8001\"\n2 = \"[fd00::2]:8002\"\n\
             3 = { address = \"10.0.0.3:8003\", url = \"https://images.example\" }\n",
        )
        .unwrap();
        assert_eq!(
            origins(&members, "http"),
            "1=http://127.0.0.1:8001 2=http://[fd00::2]:8002 3=https://images.example"
        );
        let policy = policy(&members, "http");
        assert!(
            policy.contains(
                "connect-src 'self' http://127.0.0.1:8001 http://*:8002 https://images.example; base-uri 'none'"
            ),
            "{policy}"
        );
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
