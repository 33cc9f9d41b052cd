//! The bare pipeline over TLS, by rustls as everybody uses it.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::support::certificate::{Authority, client_config};

/// What is asked of the kernel at a time: rustls itself asks for 4 KiB.
const READ_BYTES: usize = 64 << 10;

/// The socket under a session.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    fn new(stream: TcpStream) -> Wire {
        Wire(BufReader::with_capacity(READ_BYTES, stream))
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub type ClientStream = StreamOwned<ClientConnection, Wire>;

/// Makes an authority in `folder`, and what the server needs of it.
pub fn prepare(folder: &Path) {
    Authority::new(folder, "ca").sign(folder, "node", &["127.0.0.1".to_owned()]);
}

/// What the server shows, from where [`prepare`] has put it.
pub fn load(folder: &Path) -> Result<Arc<ServerConfig>, String> {
    let chain = CertificateDer::pem_file_iter(folder.join("node.pem"))
        .and_then(Iterator::collect)
        .map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_file(folder.join("node.key")).map_err(|e| e.to_string())?;
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| e.to_string())?;
    Ok(Arc::new(config))
}

/// The server's end.
pub fn accept(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<impl Read + Write + use<>> {
    stream.set_nodelay(true)?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, Wire::new(stream)))
}

/// The client's end, which believes the authority in `folder`.
pub fn connect(address: SocketAddr, folder: &Path) -> io::Result<ClientStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let config = client_config(&folder.join("ca.pem"), None);
    let session = ClientConnection::new(config, address.ip().into()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, Wire::new(stream)))
}
