//! Whether a request is let in: for which host it is, and from which site it comes.
//!
//! Without tokens everybody who reaches the port may read and write. What is refused here is being used through
//! somebody else's browser: a page elsewhere cannot write (`Origin`), and a host name that was made to point at
//! this machine does not read (`Host`, DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use super::error::Error;
use crate::http::head::{Head, Method};
use crate::members::Members;

/// The hosts this node answers for.
pub(crate) struct Gate {
    hosts: Vec<String>,
}

impl Gate {
    /// A gate for the configured nodes, the address that is listened on, and loopback.
    pub(crate) fn new(members: &Members, listen: SocketAddr) -> Gate {
        let mut hosts: Vec<String> = members.iter().map(|(_, address)| host_of(address)).collect();
        hosts.push(host_of(&listen.to_string()));
        Gate { hosts }
    }

    /// Lets a request in, or says why not. `authority` is that of an absolute target.
    pub(crate) fn admit(&self, head: &Head<'_>, authority: Option<&str>) -> Result<(), Error> {
        if let Some(host) = authority.or(head.host)
            && !self.is_ours(host)
        {
            return Err(Error::Host);
        }
        let writes = matches!(
            head.method,
            Method::Put | Method::Delete | Method::Post | Method::Other | Method::Unknown
        );
        match head.fields.text("origin") {
            Some(origin) if writes && !self.is_our_origin(origin) => Err(Error::Origin),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, authority: &str) -> bool {
        let host = host_of(authority);
        is_loopback(&host) || self.hosts.contains(&host)
    }

    fn is_our_origin(&self, origin: &str) -> bool {
        let site = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        site.is_some_and(|authority| self.is_ours(authority))
    }
}

/// `host:port` → `host`, in lower case and without the brackets of an IPv6 address.
fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;
    use crate::server::answers;

    fn admitted(method: &str, host: &str, origin: &str) -> Option<u16> {
        let members =
            Members::parse("[nodes]\n1 = \"node-a.example:8001\"\n2 = \"[fd00::2]:8001\"\n").unwrap();
        let gate = Gate::new(&members, "10.0.0.1:8001".parse().unwrap());
        let origin = if origin.is_empty() {
            String::new()
        } else {
            format!("Origin: {origin}\r\n")
        };
        let text = format!("{method} / HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let refused = gate.admit(&head, None).err();
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
        ] {
            assert_eq!(admitted("GET", host, ""), None, "{host}");
        }
        for host in [
            "evil.example",
            "node-a.example.evil.example",
            "10.0.0.2",
            "localhost.evil.example",
        ] {
            assert_eq!(admitted("GET", host, ""), Some(421), "{host}");
        }
    }

    #[test]
    fn other_sites_may_not_write() {
        assert_eq!(admitted("PUT", "localhost", "http://localhost:8001"), None);
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "file://",
        ] {
            assert_eq!(admitted("PUT", "localhost", origin), Some(403), "{origin}");
            assert_eq!(admitted("DELETE", "localhost", origin), Some(403), "{origin}");
        }
        assert_eq!(admitted("GET", "localhost", "https://evil.example"), None);
    }
}
