//! What was read of certificates, keys and authorities, for both ends.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::files::{ClientFiles, Identity, NodeFiles};
use super::own_certificate::OwnCertificate;
use super::session::Session;

/// Which versions are spoken, the best first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// What is spoken inside (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";
/// Nodes whose sessions a client remembers, to begin the next one faster.
const RESUMPTIONS: usize = 256;

/// What a node shows to whoever connects.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    own: Arc<OwnCertificate>,
}

/// Whom a client believes, and what it shows.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ServerTls {
    /// Reads the files. An error is one sentence.
    pub fn load(files: &NodeFiles) -> Result<ServerTls, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&VERSIONS)
            .map_err(|e| e.to_string())?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(ca)?), provider());
                builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(ca, e))?)
            }
        };
        let (chain, key) = identity(&files.identity)?;
        let own = OwnCertificate::new(files, chain.clone(), authorities(&files.ca)?, provider())?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| not_a_pair(&files.identity, e))?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(ServerTls {
            config: Arc::new(config),
            own: Arc::new(own),
        })
    }

    /// What people have to know of this node's certificate and key, in sentences. `host` is what others call the node.
    pub(crate) fn complaints(&self, host: &str, now: SystemTime) -> Vec<String> {
        self.own.complaints(bare_host(host), now)
    }

    /// A session with whoever has connected.
    pub(crate) fn accept(&self) -> Session {
        let connection = ServerConnection::new(Arc::clone(&self.config))
            .expect("a configuration that was built is complete");
        Session::new(connection.into())
    }
}

impl ClientTls {
    /// Reads the files. An error is one sentence.
    pub fn load(files: &ClientFiles) -> Result<ClientTls, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&VERSIONS)
            .map_err(|e| e.to_string())?
            .with_root_certificates(authorities(&files.ca)?);
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = identity(files)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| not_a_pair(files, e))?
            }
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.resumption = Resumption::in_memory_sessions(RESUMPTIONS);
        Ok(ClientTls(Arc::new(config)))
    }

    /// A session with a node, whose certificate must be for `host`, a name or an IP address.
    pub(crate) fn connect(&self, host: &str) -> Result<Session, String> {
        let host = bare_host(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(|e| e.to_string())?;
        Ok(Session::new(connection.into()))
    }
}

/// An IPv6 address without its brackets.
fn bare_host(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|e| unusable(file, e))?;
    }
    Ok(store)
}

fn identity(files: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| match e {
        pem::Error::NoItemsFound => unusable(&files.key, "it holds no private key in PEM"),
        other => unusable(&files.key, unread(other)),
    })?;
    Ok((certificates(&files.cert)?, key))
}

/// At least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).map_err(|e| unusable(file, unread(e)))?;
    let certificates: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|e| unusable(file, unread(e)))?;
    match certificates.is_empty() {
        true => Err(unusable(file, "it holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

fn unread(error: pem::Error) -> String {
    match error {
        pem::Error::Io(e) => e.to_string(),
        other => format!("it is not PEM ({other})"),
    }
}

pub(super) fn unusable(file: &Path, why: impl fmt::Display) -> String {
    format!("cannot use {}: {why}", file.display())
}

fn not_a_pair(files: &Identity, why: impl fmt::Display) -> String {
    format!(
        "{} and {} cannot be used together: {why}",
        files.cert.display(),
        files.key.display()
    )
}
