//! Which copy of a name is the image, in the whole cluster: asks the other nodes, and lets `version` decide.
//!
//! The nodes that are not assigned the name are asked first, at once, and the one that is assigned it last. Copies are
//! handed over in that direction and are durable there before they go here, so that no copy is missed on its way.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::etag::etag;
use super::names::NameLock;
use super::pause::pause;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::lease::times::Times;
use crate::report::{HeldCopy, Holding};
use crate::roster::{NodeId, ViewId};
use crate::store;
use crate::store::held::Held;
use crate::ticket::Scope;
use crate::version::{self, Copy, Newest, Time};

/// How long a lookup is repeated while nodes do not answer or go by different views.
const TIME_MAX: Duration = Duration::from_millis(1500);

/// What a lookup found.
pub(crate) struct Lookup {
    pub(crate) newest: Newest,
    /// Tag and date of the image, if there is one.
    pub(crate) state: Option<(String, SystemTime)>,
    /// The view that it was found by.
    pub(crate) view: Option<ViewId>,
}

/// Asks every node that can be asked. If this node is assigned the name and judges the conditions of a write, the lookup waits
/// for that write, unless it is made for it: then `judging` is its lock.
pub(crate) fn lookup(
    node: &Node,
    id: &ImageId,
    judging: Option<&NameLock<'_>>,
) -> Result<Lookup, store::error::Error> {
    let deadline = node.cluster.now() + TIME_MAX;
    loop {
        let (lookup, is_certain) = attempt(node, id, judging.is_some())?;
        if is_certain || node.cluster.now() >= deadline {
            return Ok(lookup);
        }
        pause();
    }
}

/// One round. `false`: the next one may find more.
fn attempt(node: &Node, id: &ImageId, is_judge: bool) -> Result<(Lookup, bool), store::error::Error> {
    let standing = node.cluster.standing();
    let assigned = standing.assigned(id.user(), id.name());
    let ask = |nodes: &[NodeId]| {
        let target = format!("{}?version", id.target());
        node.ask::<Holding>(nodes, (&target, Scope::image("GET", id)))
    };
    let mut found = Answers::new(&standing, id);
    let separate = |other: &NodeId| *other != node.id && !standing.companions.contains(other);
    let first: Vec<NodeId> = standing
        .roster
        .ids()
        .iter()
        .copied()
        .filter(|other| separate(other) && *other != assigned)
        .collect();
    if assigned != node.id {
        found.add_own(node, id)?;
    }
    found.add_all(ask(&first));
    if separate(&assigned) {
        found.add_all(ask(&[assigned]));
    } else {
        let _judged = (!is_judge && assigned == node.id).then(|| node.judging.lock(id));
        found.add_own(node, id)?;
    }
    let is_current = !found.is_outdated && node.is_current(&standing);
    // A node that does not answer may do so in a moment, or be known to be dead.
    let may_change = !is_current || !found.silent.is_empty();
    let lookup = found.decide(id, assigned, is_current);
    let is_certain = !may_change || !matches!(lookup.newest, Newest::Unknown(_));
    Ok((lookup, is_certain))
}

/// What the nodes have answered so far.
struct Answers<'s> {
    standing: &'s Standing,
    copies: Vec<(NodeId, HeldCopy)>,
    /// Nodes of the view that did not answer.
    silent: Vec<NodeId>,
    /// When a copy on each absent node can have been written.
    away: BTreeMap<NodeId, Times>,
    /// A node goes by a later view.
    is_outdated: bool,
}

impl<'s> Answers<'s> {
    fn new(standing: &'s Standing, id: &ImageId) -> Answers<'s> {
        let times = |node: NodeId| (node, standing.times_on(node, id.user(), id.name()));
        Answers {
            standing,
            copies: Vec::new(),
            silent: Vec::new(),
            away: standing.away().map(times).collect(),
            is_outdated: false,
        }
    }

    fn add_own(&mut self, node: &Node, id: &ImageId) -> Result<(), store::error::Error> {
        if let Some(copy) = own_copy(node, id)? {
            self.copies.push((node.id, copy));
        }
        Ok(())
    }

    fn add_all(&mut self, answers: Vec<(NodeId, Option<Holding>)>) {
        for (other, answer) in answers {
            let Some(holding) = answer.filter(|holding| holding.node == other) else {
                self.silent.push(other);
                continue;
            };
            self.is_outdated |= holding.view > self.standing.view;
            let goes_with_us = holding.view == self.standing.view;
            for (absent, times) in holding.away.into_iter().filter(|_| goes_with_us) {
                // Each of them is right, so all together are.
                if let Some(known) = self.away.get_mut(&absent) {
                    *known = known.common(&times);
                }
            }
            if let Some(copy) = holding.copy {
                self.copies.push((other, copy));
            }
        }
    }

    fn decide(self, id: &ImageId, assigned: NodeId, is_current: bool) -> Lookup {
        let copies: Vec<(NodeId, Copy)> = self
            .copies
            .iter()
            .map(|(node, copy)| {
                let HeldCopy { version, deleted, .. } = *copy;
                (*node, Copy { version, deleted })
            })
            .collect();
        let silent = self.silent.iter().map(|silent| {
            let times = self.standing.times_on(*silent, id.user(), id.name());
            (*silent, times)
        });
        let away: Vec<(NodeId, Option<Time>)> = self
            .away
            .into_iter()
            .chain(silent)
            .map(|(node, times)| (node, times.latest()))
            .collect();
        let mut newest = version::newest(&copies, &away, assigned);
        if !is_current && !matches!(newest, Newest::Unknown(_)) {
            newest = Newest::Unknown(Vec::new());
        }
        let state = match newest {
            Newest::Image { version, node } => self
                .copies
                .into_iter()
                .find(|(holder, copy)| *holder == node && copy.version == version)
                .map(|(_, copy)| {
                    (
                        copy.etag,
                        SystemTime::UNIX_EPOCH + Duration::from_secs(copy.modified),
                    )
                }),
            Newest::Deleted(_) | Newest::Absent | Newest::Unknown(_) => None,
        };
        Lookup {
            newest,
            state,
            view: self.standing.view,
        }
    }
}

/// What this node tells another one of a name. If it is assigned the name, not while it judges the conditions of a write.
pub(crate) fn holding(node: &Node, id: &ImageId) -> Result<Holding, store::error::Error> {
    let standing = node.cluster.standing();
    let is_assigned = standing.assigned(id.user(), id.name()) == node.id;
    // In a settled cluster nobody has anything that comes late.
    let judged = (is_assigned && !standing.is_settled).then(|| node.judging.lock(id));
    let copy = own_copy(node, id)?;
    drop(judged);
    let times = |away: NodeId| (away, standing.times_on(away, id.user(), id.name()));
    // A node that has just been paused knows nothing of what happened meanwhile.
    let is_present = node.cluster.now() < standing.present_until;
    let away = standing.away().filter(|_| is_present).map(times);
    Ok(Holding {
        node: node.id,
        view: standing.view,
        copy,
        away: away.collect(),
    })
}

/// What this node's folder holds of a name.
pub(crate) fn own_copy(node: &Node, id: &ImageId) -> Result<Option<HeldCopy>, store::error::Error> {
    Ok(node.store.held(id)?.map(|held| match held {
        Held::Image(sealed) => HeldCopy {
            version: sealed.version(),
            deleted: false,
            etag: sealed.header().map(etag).unwrap_or_default(),
            modified: unix_seconds(sealed.modified()),
        },
        Held::Tombstone(version) => HeldCopy {
            version,
            deleted: true,
            etag: String::new(),
            modified: version.time.ms() / 1000,
        },
    }))
}

/// Seconds since 1970, as listings and dates of HTTP count them.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
