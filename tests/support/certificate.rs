//! Certificates: authorities, and what they sign.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pixseal::tls::files::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// An authority that tests made up.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub file: PathBuf,
}

impl Authority {
    /// A new one, whose certificate is `NAME.pem` in `folder`.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        write(&file, &params.self_signed(&key).unwrap().pem());
        Authority {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// Certificate and key for these hosts, as `NAME.pem` and `NAME.key` in `folder`.
    pub fn sign(&self, folder: &Path, name: &str, hosts: &[String]) -> Identity {
        self.sign_params(folder, name, &params(hosts))
    }

    /// The same, long expired.
    pub fn sign_expired(&self, folder: &Path, name: &str, hosts: &[String]) -> Identity {
        let mut params = params(hosts);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign_params(folder, name, &params)
    }

    /// The same, good for `remaining` from now.
    pub fn sign_for(&self, remaining: Duration, folder: &Path, name: &str, hosts: &[String]) -> Identity {
        let mut params = params(hosts);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + now + remaining;
        self.sign_params(folder, name, &params)
    }

    fn sign_params(&self, folder: &Path, name: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let identity = Identity {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        write(&identity.cert, &certificate.pem());
        write(&identity.key, &key.serialize_pem());
        identity
    }
}

/// The options by which a node has this certificate and believes this authority.
pub fn options_of(identity: &Identity, ca: &Path) -> Vec<String> {
    let files = [
        ("--cert", identity.cert.as_path()),
        ("--key", &identity.key),
        ("--ca", ca),
    ];
    let options = files.map(|(option, file)| [option.to_owned(), file.display().to_string()]);
    options.concat()
}

/// For servers and clients.
fn params(hosts: &[String]) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A client that believes this authority, shows this certificate, and is no part of the program that is tested.
#[cfg(feature = "tls")]
pub fn client_config(ca: &Path, identity: Option<&Identity>) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(provider.into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    std::sync::Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = vec![CertificateDer::from_pem_file(&identity.cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}
