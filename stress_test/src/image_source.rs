//! Where the images of a run come from: files painted before the first upload, or memory, painted just before each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: files, threads and clocks"
)]

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::paint::{Picture, Plan};
use crate::stop_signal::StopSignal;
use crate::temporary_folder::TemporaryFolder;

/// The images of a run.
pub(crate) struct ImageSource {
    plan: Plan,
    folder: Option<TemporaryFolder>,
}

/// An image that is ready to be sent.
pub(crate) enum Image<'a> {
    /// In memory; painting took this long.
    Painted(&'a [u8], Duration),
    /// In a file.
    Stored(File),
}

impl ImageSource {
    /// Images that are painted when they are needed.
    pub(crate) fn in_memory(plan: Plan) -> ImageSource {
        ImageSource { plan, folder: None }
    }

    /// Paints all images to files, with a thread for each processor. Counts them in `painted` while it works.
    pub(crate) fn on_disk(
        plan: Plan,
        images: u64,
        folder: TemporaryFolder,
        painted: &AtomicU64,
        stop: &StopSignal,
    ) -> io::Result<ImageSource> {
        let next = AtomicU64::new(1);
        let source = ImageSource {
            plan,
            folder: Some(folder),
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let paint = || -> io::Result<()> {
                let mut buffer = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > images || stop.is_raised() {
                        return Ok(());
                    }
                    buffer.clear();
                    plan.picture(number).paint(&mut buffer)?;
                    let path = source.path(number).expect("this source has a folder");
                    fs::write(&path, &buffer)
                        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                    painted.fetch_add(1, Ordering::Relaxed);
                }
            };
            let workers: Result<Vec<_>, _> = (0..threads)
                .map(|i| {
                    thread::Builder::new()
                        .name(format!("paint-{i}"))
                        .spawn_scoped(scope, paint)
                })
                .collect();
            for worker in workers? {
                let outcome = worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                // One full disk is enough: the others would only repeat it.
                outcome.inspect_err(|_| next.store(images + 1, Ordering::Relaxed))?;
            }
            Ok::<(), io::Error>(())
        })?;
        Ok(source)
    }

    /// Image `number`, not yet painted.
    pub(crate) fn picture(&self, number: u64) -> Picture {
        self.plan.picture(number)
    }

    /// Opens or paints image `number`; `buffer` belongs to the calling thread and is used again.
    pub(crate) fn take<'a>(&self, number: u64, buffer: &'a mut Vec<u8>) -> io::Result<Image<'a>> {
        if let Some(path) = self.path(number) {
            return Ok(Image::Stored(File::open(path)?));
        }
        let start = Instant::now();
        buffer.clear();
        self.plan.picture(number).paint(buffer)?;
        Ok(Image::Painted(buffer, start.elapsed()))
    }

    fn path(&self, number: u64) -> Option<PathBuf> {
        self.folder
            .as_ref()
            .map(|folder| folder.path().join(image_name(number)))
    }
}

/// The name of image `number`.
pub(crate) fn image_name(number: u64) -> String {
    format!("stress_image_{number}.png")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const PLAN: Plan = Plan {
        seed: 4,
        side_min: 20,
        side_max: 60,
    };

    #[test]
    fn disk_and_memory_hold_the_same_images_and_the_folder_goes_away() {
        let folder = TemporaryFolder::new("test", false).unwrap();
        let path = folder.path().to_owned();
        let painted = AtomicU64::new(0);
        let disk = ImageSource::on_disk(PLAN, 9, folder, &painted, &StopSignal::default()).unwrap();
        let memory = ImageSource::in_memory(PLAN);
        assert_eq!(painted.into_inner(), 9);
        for number in 1..=9 {
            let mut from_disk = Vec::new();
            let mut buffer = Vec::new();
            match disk.take(number, &mut Vec::new()).unwrap() {
                Image::Stored(mut file) => file.read_to_end(&mut from_disk).unwrap(),
                Image::Painted(..) => panic!("painted although it was on disk"),
            };
            match memory.take(number, &mut buffer).unwrap() {
                Image::Painted(bytes, _) => assert!(bytes == from_disk),
                Image::Stored(_) => panic!("there is no file"),
            }
        }
        drop(disk);
        assert!(!path.exists());
    }
}
