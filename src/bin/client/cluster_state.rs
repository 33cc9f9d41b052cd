//! Asking one address what its node says of the cluster, whatever it answers.

use std::time::{Duration, Instant};

use pixseal::client::bearer_token::BearerToken;
use pixseal::client::connection::NodeConnection;
use pixseal::client::error::Error;
use pixseal::tls::settings::ClientTls;

/// The longest answer, in bytes: more than the largest cluster has to say.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What is shown to a node, and how it is believed.
pub(crate) type Credentials<'c> = (Option<&'c BearerToken>, Option<&'c ClientTls>);

/// Status and content of `GET /cluster`.
pub(crate) fn ask(
    address: &str,
    (token, tls): Credentials<'_>,
    end: Instant,
) -> Result<(u16, Vec<u8>), Error> {
    let left = end.saturating_duration_since(Instant::now());
    let connection = NodeConnection::open(address, tls, left.max(Duration::from_millis(1)))?;
    let mut connection = connection.with_token(token.cloned());
    connection.send_head("GET", "/cluster", "Connection: close\r\n", &[], end)?;
    let response = connection.head(end)?;
    let content = connection.read_all(&response, ANSWER_BYTES_MAX, end)?;
    Ok((response.status, content))
}
