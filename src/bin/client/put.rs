//! `client put`: uploads files, several at a time.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::error::ErrorKind;
use pixseal::client::upload::{Audience, PIECE_BYTES, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::standard_output::say;

use super::config::{Config, Existing};
use super::progress::Progress;
use super::sources::{PutSource, Sources};

/// What became of a file, with a line about it.
pub(super) enum Done {
    Stored(String),
    /// The same, where another image had that name.
    Replaced(String),
    /// The cluster has an image of its name, which stays.
    Left(String),
}

/// What all uploads of one run share.
struct Uploading<'a> {
    config: &'a Config,
    sources: &'a Sources,
    /// The index of the next source.
    next: AtomicUsize,
    progress: Mutex<Progress>,
}

/// Uploads every file, and returns how many failed; an error is wrong usage, and nothing was sent.
pub(super) fn put(config: &Config, sources: &Sources) -> usize {
    for (path, why) in &sources.skipped {
        eprintln!("client: {} is skipped: {why}", path.display());
    }
    for (path, why) in &sources.failed {
        eprintln!("client: {}: {why}", path.display());
    }
    let found = &sources.found;
    let run = Uploading {
        config,
        sources,
        next: AtomicUsize::new(0),
        progress: Mutex::new(Progress::new(
            found.len(),
            found.iter().map(|source| source.bytes).sum(),
        )),
    };
    thread::scope(|scope| {
        for _ in 1..config.jobs.min(found.len()) {
            scope.spawn(|| run.work());
        }
        run.work();
    });
    let progress = run.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary(progress, sources)
}

/// Says how it went, and returns how many failed.
fn summary(mut progress: Progress, sources: &Sources) -> usize {
    progress.clear();
    let asked = sources.found.len() + sources.failed.len();
    let failed = progress.failed + sources.failed.len();
    let also = |count, what| match count {
        0 => String::new(),
        count => format!(", {count} {what}"),
    };
    let replaced = also(progress.replaced, "of them replaced others");
    let left = also(progress.left, "left as they were");
    let skipped = also(sources.skipped.len(), "skipped");
    let seconds = progress.start.elapsed().as_secs_f64();
    let told = say(format_args!(
        "{} of {asked} files uploaded in {seconds:.1} s{replaced}{left}{skipped}",
        asked - failed - progress.left
    ));
    // The images count, not the lines about them: what could not be printed is said at the end.
    match progress.told.and(told) {
        Ok(()) => failed,
        Err(why) => {
            eprintln!("client: {why}");
            failed + 1
        }
    }
}

impl Uploading<'_> {
    /// Uploads one file after the other until none is left.
    fn work(&self) {
        let client = self.config.client(&self.config.members);
        let mut client = client.only_new(self.config.existing == Existing::Keep);
        while let Some(source) = self.sources.found.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            self.progress().show();
            let outcome = put_one(&mut client, self.config, source)
                .map_err(|why| format!("{}: {why}", source.path.display()));
            self.progress().record(source.bytes, outcome);
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_one(client: &mut Client, config: &Config, source: &PutSource) -> Result<Done, String> {
    let name = source.name.as_deref().ok_or("the file name is not text")?;
    let image = ImageId::new(&config.user, name).map_err(|e| e.to_string())?;
    if config.existing == Existing::SkipSame && is_same(client, &image, source, config.deadline())? {
        return Ok(Done::Left(format!("{image}: the same is there already")));
    }
    let terms = Terms {
        audience: Audience::All,
        deadline: config.deadline(),
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let upload = match &source.content {
        Some(content) => client.upload(&image, UploadBody::Bytes(content), terms),
        None => {
            let mut file = File::open(&source.path).map_err(|e| e.to_string())?;
            client.upload(&image, UploadBody::File(&mut file, source.bytes), terms)
        }
    };
    let receipt = match upload.outcome {
        Err(e) if e.kind == ErrorKind::PreconditionFailed => {
            return Ok(Done::Left(format!("{image}: one is there already, and stays")));
        }
        outcome => outcome.map_err(|e| e.to_string())?,
    };
    let stored = format!("{image}: {} bytes on node {}", receipt.bytes, receipt.node);
    Ok(match receipt.replaced {
        true => Done::Replaced(stored + ", replaced"),
        false => Done::Stored(stored),
    })
}

/// Whether the cluster has an image of this name with the same bytes. Entity tags do not tell: each write has its own. So an
/// image of the same length is read and compared, which costs a download and no upload.
fn is_same(
    client: &mut Client,
    image: &ImageId,
    source: &PutSource,
    deadline: Instant,
) -> Result<bool, String> {
    let Some(mut download) = client
        .download(image, None, deadline)
        .map_err(|e| e.to_string())?
    else {
        return Ok(false);
    };
    if download.bytes() != Some(source.bytes) {
        return Ok(false);
    }
    let mut reader: Box<dyn Read> = match &source.content {
        Some(content) => Box::new(&content[..]),
        None => Box::new(File::open(&source.path).map_err(|e| e.to_string())?),
    };
    let (mut theirs, mut ours) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let count = download.read(&mut theirs, deadline).map_err(|e| e.to_string())?;
        if count == 0 {
            client.finish(download);
            return Ok(true);
        }
        let read = reader.read_exact(&mut ours[..count]);
        if read.is_err() || ours[..count] != theirs[..count] {
            return Ok(false);
        }
    }
}
