//! Where certificates, keys and authorities are: files in PEM (RFC 7468).

use std::path::PathBuf;

/// A certificate with those that lead to an authority, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Certificates, that of this end first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFiles {
    /// Who it is, for clients and for other nodes.
    pub identity: Identity,
    /// The authorities that other nodes' certificates must lead to.
    pub ca: PathBuf,
    /// The authorities that a client's certificate must lead to; none: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// What a client needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that the nodes' certificates must lead to.
    pub ca: PathBuf,
    /// Who it is, for nodes that ask for a certificate.
    pub identity: Option<Identity>,
}

impl NodeFiles {
    /// What this node needs as a client of other nodes.
    pub(crate) fn as_client(&self) -> ClientFiles {
        ClientFiles {
            ca: self.ca.clone(),
            identity: Some(self.identity.clone()),
        }
    }
}

impl ClientFiles {
    /// From the options of a program, `--ca`, `--cert` and `--key`; none: plain HTTP. An error is one sentence.
    pub fn of_options(
        ca: Option<String>,
        cert: Option<String>,
        key: Option<String>,
    ) -> Result<Option<ClientFiles>, String> {
        let identity = Identity::of_options(cert, key)?;
        match (ca, identity) {
            (Some(ca), identity) => Ok(Some(ClientFiles {
                ca: ca.into(),
                identity,
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err("--cert and --key need --ca: the authority of the nodes' certificates".to_owned())
            }
        }
    }
}

impl Identity {
    /// From the options of a program. An error is one sentence.
    pub fn of_options(cert: Option<String>, key: Option<String>) -> Result<Option<Identity>, String> {
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(Identity {
                cert: cert.into(),
                key: key.into(),
            })),
            (None, None) => Ok(None),
            _ => Err("--cert and --key go together: a certificate and its private key, in PEM".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_need_each_other_say_so() {
        let files = |options: [Option<&str>; 3]| {
            let [ca, cert, key] = options.map(|option| option.map(str::to_owned));
            ClientFiles::of_options(ca, cert, key)
        };
        assert_eq!(files([None, None, None]), Ok(None));
        assert!(
            files([Some("ca"), None, None])
                .unwrap()
                .unwrap()
                .identity
                .is_none()
        );
        assert!(
            files([Some("ca"), Some("c"), Some("k")])
                .unwrap()
                .unwrap()
                .identity
                .is_some()
        );
        for halves in [
            [None, Some("c"), Some("k")],
            [Some("ca"), Some("c"), None],
            [Some("ca"), None, Some("k")],
        ] {
            assert!(files(halves).is_err(), "{halves:?}");
        }
    }
}
