//! Compare.
use std::path::Path;
/// Compare.
pub fn files(_: &Path, _: &Path) -> Result<String, String> {
    Ok(String::new())
}
