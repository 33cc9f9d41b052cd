//! `--server URL`: one node is enough, it names the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pixseal::members::Members;
use pixseal::report::Status;
use pixseal::roster::NodeId;

use super::cluster_state::{self, Credentials};
use super::config::NoConfig;

/// How long one of the servers is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The members that the first of these servers names that answers, which stands for itself at its URL.
pub(super) fn members(urls: &[String], credentials: Credentials<'_>) -> Result<Members, NoConfig> {
    let addresses = urls.iter().map(|url| address(url, credentials.1.is_some()));
    let addresses: Vec<String> = addresses.collect::<Result<_, _>>()?;
    let mut failures = Vec::new();
    for address in &addresses {
        match ask(address, credentials) {
            Ok(status) => return members_of(&status, address).map_err(NoConfig::NoServer),
            Err(why) => failures.push(why),
        }
    }
    Err(NoConfig::NoServer(failures.join("; ")))
}

/// `http://host:port` → `host:port`.
fn address(url: &str, has_tls: bool) -> Result<String, String> {
    let wrong = |why: &str| format!("--server {url}: {why}, as in http://127.0.0.1:8001");
    let (rest, port) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(_), _) if has_tls => return Err(wrong("with --ca, servers are https://")),
        (_, Some(_)) if !has_tls => {
            return Err(wrong(
                "https:// needs --ca, the authority of the nodes' certificates",
            ));
        }
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        (None, None) => return Err(wrong("a server is a URL")),
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '?', '#', '@']) {
        return Err(wrong("a server is a host and a port, and no more"));
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(match has_port {
        true => host.to_owned(),
        false => format!("{host}:{port}"),
    })
}

fn ask(address: &str, credentials: Credentials<'_>) -> Result<Status, String> {
    let asked = cluster_state::ask(address, credentials, Instant::now() + PATIENCE);
    let (status, content) = asked.map_err(|e| e.to_string())?;
    match status {
        200 => {
            serde_json::from_slice(&content).map_err(|_| format!("{address}: what answers there is no node"))
        }
        status => Err(format!(
            "{address} answered {status}: {}",
            String::from_utf8_lossy(&content).trim_end()
        )),
    }
}

fn members_of(status: &Status, address: &str) -> Result<Members, String> {
    let mut places: BTreeMap<NodeId, &str> = BTreeMap::new();
    for peer in &status.peers {
        places.insert(peer.id, &peer.address);
    }
    places.insert(status.node, address);
    let lines = places
        .iter()
        .map(|(id, address)| format!("{id} = \"{address}\"\n"));
    Members::parse(&format!("[nodes]\n{}", lines.collect::<String>())).map_err(|e| format!("{address}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        for (url, has_tls, expected) in [
            ("http://127.0.0.1:8001", false, Some("127.0.0.1:8001")),
            ("http://node-1.example/", false, Some("node-1.example:80")),
            ("https://node-1.example", true, Some("node-1.example:443")),
            ("http://[::1]:8001", false, Some("[::1]:8001")),
            ("http://[::1]", false, Some("[::1]:80")),
            ("https://h:1", false, None),
            ("http://h:1", true, None),
            ("127.0.0.1:8001", false, None),
            ("http://h:1/images/", false, None),
            ("http://user@h", false, None),
            ("http://", false, None),
        ] {
            assert_eq!(address(url, has_tls).ok().as_deref(), expected, "{url}");
        }
    }
}
