//! What the heartbeat thread publishes, and what it is asked for. Nobody waits for anybody here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::report::Report;
use super::time::BootClock;
use crate::condition::ConditionCell;
use crate::election::event::View;
use crate::lease::standing::Standing;
use crate::members::Members;
use crate::roster::ViewId;

pub(super) struct Shared {
    pub(super) view: ArcSwap<View>,
    pub(super) standing: ArcSwap<Standing>,
    /// The members that this node goes by, with their addresses.
    pub(super) members: ArcSwap<Members>,
    pub(super) report: ArcSwap<Report>,
    /// A later life of this node that others know: it needs an incarnation above this one.
    pub(super) outlived_by: ArcSwapOption<u64>,
    pub(super) time: BootClock,
    pub(super) condition: Arc<ConditionCell>,
    /// The view in which nothing of this node lies elsewhere.
    pub(super) clean: ArcSwapOption<ViewId>,
    /// Members that are to be the members from now on; taken by the thread.
    pub(super) wanted: ArcSwapOption<Members>,
    /// A higher incarnation, which was made durable; taken by the thread.
    pub(super) reincarnation: ArcSwapOption<u64>,
    pub(super) leave: AtomicBool,
    pub(super) stop: AtomicBool,
    /// An eventfd that ends the thread's wait.
    pub(super) wake: OwnedFd,
}

impl Shared {
    pub(super) fn wake(&self) {
        // Fails only if the counter is full: then the thread is about to wake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}
