//! What all members say about themselves, asked by one of them.
//!
//! Whoever asks within a moment is told the same, and one survey is taken at a time: a hundred pages that watch a node cost its
//! peers what one costs.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::service::Service;
use super::status;
use crate::report::{ClusterState, Status};
use crate::roster::NodeId;
use crate::ticket::Scope;

/// A survey that is younger is not taken anew.
const FRESH_FOR: Duration = Duration::from_millis(400);
/// While a new one is taken, others are told what is not older than this.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// The last survey.
#[derive(Default)]
pub(crate) struct Surveys {
    last: ArcSwapOption<(Duration, Arc<ClusterState>)>,
    taking: Mutex<()>,
}

impl Surveys {
    /// What the members have said a moment ago.
    pub(crate) fn recent(&self, service: &Service) -> Arc<ClusterState> {
        if let Some(state) = self.within(service, FRESH_FOR) {
            return state;
        }
        let _taking = match self.taking.try_lock() {
            Ok(taking) => taking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => match self.within(service, STALE_AFTER) {
                Some(state) => return state,
                None => self.taking.lock().unwrap_or_else(PoisonError::into_inner),
            },
        };
        // Another worker may have taken it while this one waited.
        self.within(service, FRESH_FOR).unwrap_or_else(|| {
            let state = Arc::new(take(service));
            let now = service.node.cluster.now();
            self.last.store(Some(Arc::new((now, Arc::clone(&state)))));
            state
        })
    }

    fn within(&self, service: &Service, age: Duration) -> Option<Arc<ClusterState>> {
        let last = self.last.load();
        let (taken, state) = &**last.as_ref()?;
        (service.node.cluster.now().saturating_sub(*taken) < age).then(|| Arc::clone(state))
    }
}

/// Asks the members that are alive in this node's view. The others are known not to answer.
fn take(service: &Service) -> ClusterState {
    let node = &service.node;
    let standing = node.cluster.standing();
    let (there, mut missing): (Vec<NodeId>, Vec<NodeId>) =
        node.others().partition(|other| standing.roster.contains(*other));
    let answers = node.ask::<Status>(&there, ("/cluster?local", Scope::status()));
    let mut nodes = vec![status::whole(service)];
    for (other, answer) in answers {
        match answer.filter(|status| status.node == other) {
            Some(status) => nodes.push(status),
            None => missing.push(other),
        }
    }
    nodes.sort_by_key(|status| status.node);
    missing.sort();
    ClusterState {
        node: node.id,
        nodes,
        missing,
    }
}
