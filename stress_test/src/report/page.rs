//! Page.
use crate::summary::Summary;
/// Page.
pub fn html(_: &Summary) -> String {
    String::new()
}
