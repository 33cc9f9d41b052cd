//! The uploads of a run: many threads upload, this one counts the outcomes, one more runs the drill.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::drill::Drill;
use crate::image_source::image_name;
use crate::load::{Load, is_held_back};
use crate::progress_display::ProgressDisplay;
use crate::sample::{Sample, UploadOutcome};
use crate::spawned_cluster::SpawnedCluster;
use crate::stop_signal::RunEnd;
use crate::stop_signal::{RaiseOnDrop, StopSignal};
use crate::summary;
use crate::tally::Tally;
use crate::upload_log::UploadLog;

/// Samples that wait to be counted.
const SAMPLES_MAX: usize = 1024;
/// How often the display is refreshed when nothing happens.
const REFRESH: Duration = Duration::from_millis(50);

/// Uploads all images and counts them as they end. Returns what the drill saw.
pub(crate) fn upload(
    load: &Load<'_>,
    cluster: Option<&SpawnedCluster>,
    upload_log: &mut UploadLog,
    tally: &mut Tally,
    live: bool,
) -> Result<Vec<summary::DrillResult>, String> {
    let config = load.config;
    let failed = |e: io::Error| format!("a thread could not be started: {e}");
    let finished = AtomicU64::new(0);
    let over = StopSignal::default();
    thread::scope(|scope| {
        let _over = RaiseOnDrop(&over);
        let (sender, samples) = bounded(SAMPLES_MAX);
        for i in 0..config.concurrency {
            let sender = sender.clone();
            let work = move || load.work(&sender);
            thread::Builder::new()
                .name(format!("upload-{i}"))
                .spawn_scoped(scope, work)
                .map_err(failed)?;
        }
        drop(sender);
        let drill = cluster.map(|cluster| Drill {
            cluster,
            watch: load.watch,
            stop: &over,
            finished: &finished,
            images: config.images,
            origin: load.origin,
        });
        let drill = drill.map(|drill| scope.spawn(move || drill.run(&config.drill)));
        let mut progress = ProgressDisplay::new("Uploading", config.images, config.members.count(), live);
        let counted = count(&samples, load, upload_log, tally, &finished, &mut progress);
        progress.finish();
        over.raise(RunEnd::Complete);
        let results = drill.map(|drill| {
            drill
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        counted
            .map(|()| results.unwrap_or_default())
            .map_err(|e| e.to_string())
    })
}

fn count(
    samples: &Receiver<Sample>,
    load: &Load<'_>,
    upload_log: &mut UploadLog,
    tally: &mut Tally,
    finished: &AtomicU64,
    progress: &mut ProgressDisplay,
) -> io::Result<()> {
    loop {
        match samples.recv_timeout(REFRESH) {
            Ok(sample) => {
                tally.add(&sample, &image_name(sample.number), is_held_back(sample.number));
                if matches!(sample.outcome, UploadOutcome::Stored { .. }) {
                    progress.note(sample.total.as_secs_f64() * 1e3);
                }
                finished.fetch_add(1, Ordering::Relaxed);
                // Without its upload log the run goes no further: the disk is full, and the uploads would be next.
                upload_log
                    .add(&sample)
                    .inspect_err(|_| load.stop.raise(RunEnd::Interrupted))?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        progress.show(tally, load.watch);
    }
}
