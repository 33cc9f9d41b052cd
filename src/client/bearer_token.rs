//! The token that a client shows to the nodes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::tokens;

/// The environment variable that a token is taken from.
pub const VARIABLE: &str = "PIXSEAL_TOKEN";
/// More than a token with its newline.
const FILE_BYTES_MAX: usize = 1024;

/// A token, which can be sent and not be printed. A clone shares it; it is wiped with the last one.
#[derive(Clone)]
pub struct BearerToken(Arc<Zeroizing<String>>);

impl BearerToken {
    /// The token in `file`, or else that of the environment, if there is one. An error is one sentence, without the token.
    pub fn find(file: Option<&Path>) -> Result<Option<BearerToken>, String> {
        if let Some(file) = file {
            return BearerToken::read(file).map(Some);
        }
        match std::env::var(VARIABLE).map(Zeroizing::new) {
            Ok(text) if !text.trim().is_empty() => BearerToken::parse(&text)
                .map(Some)
                .ok_or_else(|| not_a_token(VARIABLE)),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(not_a_token(VARIABLE)),
        }
    }

    fn read(file: &Path) -> Result<BearerToken, String> {
        let cannot = |e: io::Error| format!("cannot read the token in {}: {e}", file.display());
        // One allocation of the final size, so that no copy is left behind that is not wiped.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
        let opened = File::open(file).map_err(cannot)?;
        opened
            .take(FILE_BYTES_MAX as u64)
            .read_to_string(&mut text)
            .map_err(cannot)?;
        BearerToken::parse(&text).ok_or_else(|| not_a_token(&file.display().to_string()))
    }

    /// `None`: it is no token.
    pub fn parse(text: &str) -> Option<BearerToken> {
        let text = text.trim();
        tokens::is_well_formed(text).then(|| BearerToken(Arc::new(Zeroizing::new(text.to_owned()))))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

fn not_a_token(origin: &str) -> String {
    format!("{origin} holds no token: one is a line as `seal token add` prints it, pixseal_…")
}
