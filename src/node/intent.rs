//! What is about to be written is declared first to the nodes of the view that may hold copies that belong elsewhere.
//!
//! So that they know, should this node be away later, what it can hold: nothing that they have not noted. A name that
//! one of them does not note is not written; see [`crate::lease::intents`].

use super::error::Error;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::report::Noted;
use crate::roster::ViewId;
use crate::ticket::{Claims, Purpose, Scope};
use crate::version::Version;

/// Has the other nodes of the view note that this name is about to be written here. `false`: one did not, or goes by
/// another view.
pub(crate) fn declare(node: &Node, id: &ImageId, (version, view): (Version, ViewId)) -> bool {
    let standing = node.cluster.standing();
    if standing.view != Some(view) {
        return false;
    }
    if standing.declared_to.is_empty() {
        return true;
    }
    let target = |to| {
        let claims = node.claims(to, Purpose::Intent, (version, view));
        format!(
            "{}?ticket={}",
            id.target(),
            node.tickets.sign(&claims, Scope::image("POST", id))
        )
    };
    let answers = node.ask_each::<Noted>(&standing.declared_to, "POST", &target);
    answers.iter().all(|(_, noted)| noted.is_some())
}

/// Notes what the node that is assigned the name is about to write. An error if this node does not go by the view in which
/// it is.
pub(crate) fn note(node: &Node, id: &ImageId, claims: &Claims) -> Result<Noted, Error> {
    let is_of = |view: Option<ViewId>| view == Some(claims.view);
    let standing = node.cluster.standing();
    let writer = standing.assigned(id.user(), id.name());
    if !is_of(standing.view) || writer == node.id {
        return Err(Error::NotPlaced);
    }
    standing.note(writer, id.user(), id.name(), claims.version.time);
    // Looked at again: whoever goes by the next view finds what was noted.
    if !is_of(node.cluster.standing().view) {
        return Err(Error::NotPlaced);
    }
    Ok(Noted { node: node.id })
}
