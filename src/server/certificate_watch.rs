//! Looks at this node's own certificate once an hour, and whenever certificates were read again: whether others believe the
//! node, and for how much longer.
//!
//! What it finds is told in the log, once and then daily, and in `/cluster` as long as it lasts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use super::service::Service;

const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often people are told of what lasts.
const TELL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The thread that looks, until dropped.
pub(super) struct CertificateWatch {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl CertificateWatch {
    /// None for a node that speaks plain HTTP.
    pub(super) fn start(service: &Arc<Service>) -> io::Result<Option<CertificateWatch>> {
        if service.tls.is_none() {
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("certificate".to_owned()).spawn({
            let (stop, service) = (Arc::clone(&stop), Arc::clone(service));
            move || {
                let mut told = None;
                while !stop.load(Ordering::Relaxed) {
                    look(&service, &mut told);
                    thread::park_timeout(LOOK_EVERY);
                }
            }
        })?;
        Ok(Some(CertificateWatch {
            stop,
            thread: Some(thread),
        }))
    }

    /// Certificates were read again.
    pub(super) fn look_again(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.look_again();
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// `told`: when people were told last of what there is to tell.
fn look(service: &Service, told: &mut Option<SystemTime>) {
    let (node, now) = (&service.node, now());
    let Some(tls) = &service.tls else { return };
    let members = node.members();
    let address = members.address(node.id).unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let found = tls.load().complaints(host, now);
    let is_new = **service.certificate_complaints.load() != found;
    let is_due = told.is_none_or(|at| now.duration_since(at).is_ok_and(|since| since >= TELL_EVERY));
    if is_new || is_due {
        found
            .iter()
            .for_each(|complaint| log::warn!("Node {}: {complaint}", node.id));
        *told = Some(now);
    }
    service.certificate_complaints.store(Arc::new(found));
}

#[allow(
    clippy::disallowed_methods,
    reason = "the edge tells the time to the rooms that must not look"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
