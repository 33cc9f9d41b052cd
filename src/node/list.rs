//! A user's images, of this node or of the whole cluster, in pages.
//!
//! Of several copies of a name the newest counts. A name is left out if that is a tombstone, or if a node that could not
//! be asked may hold a newer one: such nodes are named. Unless the cluster is settled, all nodes are asked twice: a copy
//! that is handed over while a page is made lies on one of the two nodes in one of the two rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Error;
use super::find::Reach;
use super::lookup::unix_seconds;
use super::pause::pause;
use super::shared::Node;
use crate::http::target::encode;
use crate::lease::standing::Standing;
use crate::report::{Item, Page};
use crate::roster::NodeId;
use crate::seal;
use crate::store::listing::StoredImage;
use crate::ticket::Scope;
use crate::version::{self, Copy, Newest, Time};

/// The particulars of a listing.
pub(crate) struct List {
    /// Whose images.
    pub(crate) user: String,
    pub(crate) reach: Reach,
    /// For another node: tombstones too.
    pub(crate) tombstones: bool,
    /// Only names after this one.
    pub(crate) after: String,
    /// At most so many.
    pub(crate) limit: usize,
}

/// How long a page is made anew while the view changes.
const TIME_MAX: Duration = Duration::from_millis(1500);

/// The copies of each name, by the nodes that hold them.
type Copies = BTreeMap<String, Vec<(NodeId, Item)>>;

/// One page. It names the nodes that could not be asked.
pub(crate) fn list(node: &Node, list: &List) -> Result<Page, Error> {
    if list.reach == Reach::Local {
        let mut page = own_page(node, list)?;
        page.images.retain(|item| list.tombstones || !item.deleted);
        return Ok(page);
    }
    let deadline = node.cluster.now() + TIME_MAX;
    loop {
        let standing = node.cluster.standing();
        let mut gathered = Gathered::default();
        gather(node, list, &standing, &mut gathered)?;
        if !(standing.is_settled && node.is_alone(&standing)) {
            gather(node, list, &standing, &mut gathered)?;
        }
        if node.is_current(&standing) {
            return Ok(gathered.page(list, &standing));
        }
        if node.cluster.now() >= deadline {
            return Err(Error::NotReady);
        }
        pause();
    }
}

#[derive(Default)]
struct Gathered {
    copies: Copies,
    /// What lies after this name is not known of every node.
    horizon: Option<String>,
    missing: Vec<NodeId>,
}

/// One round: this node's page and those of all others.
fn gather(node: &Node, list: &List, standing: &Standing, gathered: &mut Gathered) -> Result<(), Error> {
    let target = format!(
        "/images/{}/?local&versions&limit={}&after={}",
        list.user,
        list.limit,
        encode(&list.after)
    );
    let separate = |other: &NodeId| !standing.is_folder_of(*other);
    let (present, absent): (Vec<NodeId>, Vec<NodeId>) = node
        .others()
        .filter(separate)
        .partition(|other| standing.roster.contains(*other));
    let pages = node.ask::<Page>(&present, (&target, Scope::list(&list.user)));
    gathered.add(node.id, own_page(node, list)?);
    for (other, page) in pages {
        match page {
            Some(page) => gathered.add(other, page),
            None => gathered.miss(other),
        }
    }
    absent.into_iter().for_each(|other| gathered.miss(other));
    Ok(())
}

impl Gathered {
    fn add(&mut self, node: NodeId, page: Page) {
        if let Some(next) = page.next {
            let nearer = self
                .horizon
                .take()
                .map_or(next.clone(), |horizon| horizon.min(next));
            self.horizon = Some(nearer);
        }
        for item in page.images {
            self.copies
                .entry(item.name.clone())
                .or_default()
                .push((node, item));
        }
    }

    fn miss(&mut self, node: NodeId) {
        if !self.missing.contains(&node) {
            self.missing.push(node);
        }
    }

    fn page(self, list: &List, standing: &Standing) -> Page {
        let horizon = self.horizon;
        let known = |name: &str| horizon.as_deref().is_none_or(|horizon| name <= horizon);
        let mut images: Vec<Item> = self
            .copies
            .into_iter()
            .filter(|(name, _)| known(name))
            .filter_map(|(name, copies)| {
                let away = |node: &NodeId| (*node, standing.times_on(*node, &list.user, &name).latest());
                let away: Vec<_> = self.missing.iter().map(away).collect();
                newest(copies, &away, standing.assigned(&list.user, &name), standing)
            })
            .collect();
        let mut next = horizon;
        if images.len() > list.limit {
            images.truncate(list.limit);
            next = images.last().map(|item| item.name.clone());
        }
        let mut missing = self.missing;
        missing.sort_unstable();
        Page {
            user: list.user.clone(),
            images,
            next,
            missing,
        }
    }
}

/// The copy that counts, if it is an image, and if that can be known without those that are `away`.
fn newest(
    copies: Vec<(NodeId, Item)>,
    away: &[(NodeId, Option<Time>)],
    assigned: NodeId,
    standing: &Standing,
) -> Option<Item> {
    let held: Vec<(NodeId, Copy)> = copies
        .iter()
        .map(|(node, item)| {
            let version = item.version.unwrap_or_default();
            let deleted = item.deleted;
            (*node, Copy { version, deleted })
        })
        .collect();
    let Newest::Image { version, node } = version::newest(&held, away, assigned) else {
        return None;
    };
    let (_, item) = copies
        .into_iter()
        .find(|(holder, item)| *holder == node && item.version.unwrap_or_default() == version)?;
    // In a shared folder every node has it: it counts as held by the one that it is assigned to.
    let shared = standing.is_folder_of(node) && standing.is_folder_of(assigned);
    let holder = if shared { assigned } else { node };
    Some(Item {
        node: Some(holder),
        ..item
    })
}

/// What this node's folder holds, tombstones included.
fn own_page(node: &Node, list: &List) -> Result<Page, Error> {
    let _turn = node.listings.turn().ok_or(Error::TooManyListings)?;
    let (stored, next) = node.store.list(&list.user, &list.after, list.limit)?;
    Ok(Page {
        user: list.user.clone(),
        images: stored
            .into_iter()
            .filter_map(|image| item(node, &image))
            .collect(),
        next,
        missing: Vec::new(),
    })
}

fn item(node: &Node, image: &StoredImage) -> Option<Item> {
    let bytes = match image.sealed_bytes {
        // A file of an impossible size is damaged; reading it says so.
        Some(sealed_bytes) => seal::plain_bytes(sealed_bytes)?,
        None => 0,
    };
    Some(Item {
        name: image.id.name().to_owned(),
        bytes,
        modified: unix_seconds(image.modified),
        node: Some(node.id),
        version: Some(image.version),
        deleted: image.sealed_bytes.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    fn item(name: &str, ms: u64, deleted: bool) -> Item {
        Item {
            name: name.to_owned(),
            bytes: ms,
            modified: 0,
            node: None,
            version: Some(Version {
                time: Time::from_ms(ms),
                node: NodeId(1),
            }),
            deleted,
        }
    }

    fn page(items: &[(&str, u64, bool)], next: Option<&str>) -> Page {
        Page {
            user: "alice".to_owned(),
            images: items
                .iter()
                .map(|(name, ms, deleted)| item(name, *ms, *deleted))
                .collect(),
            next: next.map(str::to_owned),
            missing: Vec::new(),
        }
    }

    fn merged(limit: usize, pages: Vec<Page>) -> (Vec<(String, u64)>, Option<String>) {
        let mut gathered = Gathered::default();
        for (page, node) in pages.into_iter().zip(1..) {
            gathered.add(NodeId(node), page);
        }
        let list = List {
            user: "alice".to_owned(),
            reach: Reach::Everywhere,
            tombstones: false,
            after: String::new(),
            limit,
        };
        let page = gathered.page(&list, &Standing::nothing(NodeId(1)));
        let images = page
            .images
            .into_iter()
            .map(|item| (item.name, item.bytes))
            .collect();
        (images, page.next)
    }

    #[test]
    fn the_newest_copy_is_shown_and_a_deleted_one_is_not() {
        let one = page(&[("a", 1, false), ("b", 5, false), ("c", 9, false)], None);
        let two = page(&[("a", 2, false), ("b", 6, true), ("c", 8, true)], None);
        let shown = vec![("a".to_owned(), 2), ("c".to_owned(), 9)];
        assert_eq!(merged(10, vec![one, two]), (shown, None));
    }

    #[test]
    fn a_page_ends_where_a_node_has_more_to_say() {
        let one = page(&[("a", 1, false), ("c", 1, false)], Some("c"));
        let two = page(&[("b", 1, false), ("d", 1, false), ("e", 1, false)], None);
        let (images, next) = merged(2, vec![one, two]);
        assert_eq!(images, vec![("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(next.as_deref(), Some("b"));
        let one = page(&[("a", 1, true), ("c", 1, true)], Some("c"));
        let two = page(&[("d", 1, false)], None);
        assert_eq!(merged(2, vec![one, two]), (Vec::new(), Some("c".to_owned())));
    }
}
