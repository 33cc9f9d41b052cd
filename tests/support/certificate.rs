//! Certificates that sign themselves, for servers in front of or beside ours; by openssl.

use std::path::Path;
use std::process::Command;

use super::process::ChildProcess;

/// Puts `cert.pem` and `key.pem` for a host of this name into `folder`.
pub fn make(folder: &Path, name: &str) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    command.args(["-addext", &format!("subjectAltName=DNS:{name}"), "-keyout"]);
    command
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"));
    ChildProcess::start("openssl", &mut command, &folder.join("openssl.log"))?.finish()
}
