//! Whether a request is let in: for which host it is, and from which site it comes.
//!
//! What is refused here is being used through somebody else's browser: a page elsewhere cannot write (`Origin`), and a
//! host name that was made to point at this machine does not read (`Host`, DNS rebinding). That holds with tokens as
//! without: a browser may have one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::error::Error;
use crate::http::head::{Head, Method};
use crate::members::Members;

/// What whoever watches a node asks it for, by whatever name he has for it.
const FOR_WATCHERS: [&str; 3] = ["healthz", "readyz", "metrics"];

/// The hosts this node answers for, and the sites whose pages may write.
pub(crate) struct Gate {
    hosts: BTreeSet<String>,
    /// Host and port.
    sites: BTreeSet<(String, u16)>,
}

impl Gate {
    /// A gate for the configured nodes and their URLs, the address that is listened on, loopback, and the hosts in
    /// `allowed`, each with a port or without.
    pub(crate) fn new(members: &Members, listen: SocketAddr, allowed: &[String]) -> Gate {
        let mut sites = BTreeSet::new();
        let mut add = |authority: &str, ports: &[u16]| {
            let (host, port) = split(authority);
            let ports = port.map_or_else(|| ports.to_vec(), |port| vec![port]);
            sites.extend(ports.into_iter().map(|port| (host.to_string(), port)));
        };
        for (id, address) in members.iter() {
            add(address, &[]);
            if let Some((scheme, authority)) = members.url(id).and_then(|url| url.split_once("://")) {
                add(authority, &[default_port(scheme)]);
            }
        }
        add(&listen.to_string(), &[]);
        for host in allowed {
            add(host, &[80, 443, listen.port()]);
        }
        Gate {
            hosts: sites.iter().map(|(host, _)| host.clone()).collect(),
            sites,
        }
    }

    /// Lets a request in, or says why not. `authority` is that of an absolute target, `path` its segments.
    pub(crate) fn admit(
        &self,
        head: &Head<'_>,
        authority: Option<&str>,
        path: &[impl AsRef<str>],
    ) -> Result<(), Error> {
        let host = authority.or(head.host);
        let is_for_watchers = matches!(path, [only] if FOR_WATCHERS.contains(&only.as_ref()));
        if let Some(host) = host
            && !is_for_watchers
            && !self.is_ours(host)
        {
            return Err(Error::Host);
        }
        let writes = matches!(
            head.method,
            Method::Put | Method::Delete | Method::Post | Method::Other | Method::Unknown
        );
        match head.fields.text("origin") {
            Some(origin) if writes && !self.is_our_site(origin, host) => Err(Error::Origin),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, authority: &str) -> bool {
        let (host, _) = split(authority);
        self.hosts.contains(host.as_ref()) || is_loopback(&host)
    }

    /// Whether pages of a site may write: it is one of our nodes, with its port, or just what was asked.
    fn is_our_site(&self, origin: &str, asked: Option<&str>) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        if !matches!(scheme, "http" | "https") {
            return false;
        }
        let (host, port) = split(authority);
        let port = port.unwrap_or(default_port(scheme));
        if asked.is_some_and(|asked| {
            let (asked, asked_port) = split(asked);
            asked == host && asked_port.unwrap_or(default_port(scheme)) == port
        }) {
            return self.is_ours(authority);
        }
        // This machine has many names for itself.
        let is_same = |known: &str| known == host.as_ref() || is_loopback(&host) && is_loopback(known);
        self.sites
            .iter()
            .any(|(known, known_port)| *known_port == port && is_same(known))
    }
}

/// `host:port` → host and port; the host in lower case, and without the brackets of an IPv6 address.
fn split(authority: &str) -> (Cow<'_, str>, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.');
    let host = match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    };
    (host, port)
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;
    use crate::server::answers;

    fn admitted(line: &str, host: &str, origin: &str) -> Option<u16> {
        let members = Members::parse(
            "[nodes]\n1 = \"node-a.example:8001\"\n2 = \"[fd00::2]:8001\"\n3 = \"127.0.0.1:8003\"\n\
             4 = { address = \"10.0.0.4:8001\", url = \"https://images.example\" }\n",
        );
        let allowed = ["proxy.example".to_owned(), "other.example:81".to_owned()];
        let gate = Gate::new(&members.unwrap(), "10.0.0.1:8001".parse().unwrap(), &allowed);
        let origin = if origin.is_empty() {
            String::new()
        } else {
            format!("Origin: {origin}\r\n")
        };
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let path: Vec<&str> = head.target[1..].split('/').collect();
        let refused = gate.admit(&head, None, &path).err();
        refused.map(|error| answers::refusal(&error).status.0)
    }

    #[test]
    fn only_our_hosts_are_answered_for() {
        for host in [
            "node-a.example",
            "NODE-A.example:8001",
            "localhost:9",
            "127.0.0.7",
            "[::1]:8001",
            "[fd00::2]:1",
            "10.0.0.1",
            "images.example",
            "proxy.example:8080",
            "other.example",
        ] {
            assert_eq!(admitted("GET /", host, ""), None, "{host}");
        }
        for host in [
            "evil.example",
            "node-a.example.evil.example",
            "10.0.0.2",
            "localhost.evil.example",
        ] {
            assert_eq!(admitted("GET /", host, ""), Some(421), "{host}");
            assert_eq!(admitted("GET /healthz/x", host, ""), Some(421), "{host}");
            for path in ["/healthz", "/readyz", "/metrics"] {
                assert_eq!(admitted(&format!("GET {path}"), host, ""), None, "{host}{path}");
            }
        }
    }

    #[test]
    fn only_our_own_pages_may_write() {
        for (host, origin) in [
            ("localhost:8001", "http://localhost:8001"),
            ("localhost:8001", "http://127.0.0.1:8003"),
            ("127.0.0.1:8003", "http://localhost:8003"),
            ("127.0.0.1:9999", "http://127.0.0.1:9999"),
            ("10.0.0.1:8001", "http://node-a.example:8001"),
            ("10.0.0.4:8001", "https://images.example"),
            ("images.example", "https://images.example"),
            ("proxy.example", "https://proxy.example"),
            ("10.0.0.1:8001", "http://proxy.example"),
            ("10.0.0.1:8001", "http://other.example:81"),
        ] {
            assert_eq!(admitted("PUT /", host, origin), None, "{origin} to {host}");
        }
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "file://",
            "ftp://localhost:8001",
            "http://localhost:3000",
            "http://localhost",
            "http://node-a.example",
            "http://node-a.example:8080",
            "http://images.example",
            "http://other.example",
        ] {
            for line in ["PUT /", "DELETE /", "POST /"] {
                assert_eq!(admitted(line, "localhost:8001", origin), Some(403), "{origin}");
            }
        }
        assert_eq!(admitted("GET /", "localhost", "https://evil.example"), None);
    }
}
