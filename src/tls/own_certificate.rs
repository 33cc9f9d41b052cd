//! This node's own certificate, looked at as others look at it: whether they believe it, and for how much longer.
//!
//! Knows no clock: it is told what time it is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::files::NodeFiles;
use super::session::explain;
use super::settings::unusable;

/// So long before a certificate ends, people are told. What renews certificates by itself does so much earlier.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A certificate, those that lead to an authority, and the authorities by which others judge it.
pub(super) struct OwnCertificate {
    files: NodeFiles,
    chain: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl OwnCertificate {
    /// `chain` is what the node shows, and not empty. An error is one sentence.
    pub(super) fn new(
        files: &NodeFiles,
        chain: Vec<CertificateDer<'static>>,
        authorities: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<OwnCertificate, String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider);
        Ok(OwnCertificate {
            files: files.clone(),
            chain,
            verifier: verifier.build().map_err(|e| unusable(&files.ca, e))?,
        })
    }

    /// What people have to know of certificate and key, in sentences. `host` is what others call this node.
    pub(super) fn complaints(&self, host: &str, now: SystemTime) -> Vec<String> {
        let disbelief = self
            .disbelief(host, now)
            .map(|error| self.disbelieved(&error))
            .or_else(|| self.ends_soon(host, now));
        disbelief.into_iter().chain(self.exposed_key()).collect()
    }

    fn disbelieved(&self, error: &Error) -> String {
        format!(
            "Others do not believe this node: {} ({}). Put another one there, and send SIGHUP to the node.",
            explain(error),
            self.files.identity.cert.display()
        )
    }

    /// Others believe it now; whether they do when the time to renew it is over.
    fn ends_soon(&self, host: &str, now: SystemTime) -> Option<String> {
        let end = match self.disbelief(host, now + RENEW_BEFORE)? {
            Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                let end = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(not_after.as_secs()));
                format!("on {end}")
            }
            _ => "within a week".to_owned(),
        };
        Some(format!(
            "The certificate in {}, or one that leads from it to its authority, ends {end}: put a new one there, and send \
             SIGHUP to the node.",
            self.files.identity.cert.display()
        ))
    }

    /// Why others who connect at this time do not believe it, if they do not.
    fn disbelief(&self, host: &str, at: SystemTime) -> Option<Error> {
        let Ok(name) = ServerName::try_from(host) else {
            return Some(Error::General(format!(
                "{host:?} is no name that a certificate can be for"
            )));
        };
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (own, others) = self.chain.split_first()?;
        self.verifier
            .verify_server_cert(own, others, &name, &[], UnixTime::since_unix_epoch(at))
            .err()
    }

    /// Keys are often shared with a group of services, so only what everybody may read is told.
    fn exposed_key(&self) -> Option<String> {
        let key: &PathBuf = &self.files.identity.key;
        let mode = fs::metadata(key).ok()?.mode();
        (mode & 0o004 != 0).then(|| {
            format!(
                "The private key in {} can be read by every user of this machine: chmod 640 it, or 600.",
                key.display()
            )
        })
    }
}
