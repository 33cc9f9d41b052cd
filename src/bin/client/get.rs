//! `client get`: images into files, several at a time, or one to standard output.
//!
//! A download has another name until all of it is there, `NAME.TAG.part` beside the file that it is to be: a broken one must
//! not look like an image. TAG is the image's entity tag. So one that broke off, or was stopped, goes on where it was, also
//! when `get` is called again, unless the image has changed meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::download::Download;
use pixseal::client::upload::PIECE_BYTES;
use pixseal::durable::Replace;
use pixseal::image_id::ImageId;
use pixseal::standard_output::say;

use super::config::Config;
use super::part::Part;

/// How long to wait before a download that broke off goes on.
const PAUSE: Duration = Duration::from_millis(250);

/// Gets all of these, and returns how many failed.
pub(super) fn get_all(config: &Config, names: &[String]) -> usize {
    if config.output == Path::new("-") {
        let mut client = config.client(&config.members);
        return super::each(names, |name| print_image(&mut client, config, name));
    }
    // A name that is given twice is one file.
    let names: Vec<&String> = BTreeSet::from_iter(names).into_iter().collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut client = config.client(&config.members);
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(why) = get(&mut client, config, name) {
                failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("client: {why}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..config.jobs.min(names.len()) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner()
}

fn print_image(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    let wrong = |e: io::Error| format!("{image}: {e}");
    let deadline = config.deadline();
    let download = client.download(&image, None, deadline);
    let mut download = download
        .map_err(|e| format!("{image}: {e}"))?
        .ok_or_else(|| format!("{image}: no node has it"))?;
    let mut out = io::stdout().lock();
    let copied = copy(&mut download, &mut out, deadline).and_then(|()| out.flush());
    // Whoever was reading may have had enough.
    copied.or_else(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(wrong(e)),
    })?;
    client.finish(download);
    Ok(())
}

fn get(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    let path = config.output.join(name);
    if config.replace == Replace::Refused && path.symlink_metadata().is_ok() {
        return Err(already_there(&path));
    }
    let wrong = |e: io::Error| format!("{image}: {e}");
    fs::create_dir_all(&config.output).map_err(wrong)?;
    let deadline = config.deadline();
    loop {
        let part = Part::find(&config.output, name).map_err(wrong)?;
        let held = part.as_ref().map(Part::held);
        let download = client
            .resume(&image, held, deadline)
            .map_err(|e| format!("{image}: {e}"))?;
        let mut download = download.ok_or_else(|| format!("{image}: no node has it"))?;
        let node = download.node;
        match receive(&mut download, part, (config, name), deadline) {
            Ok(part) => {
                client.finish(download);
                let bytes = part.finish(&path, config.replace).map_err(|e| match e.kind() {
                    io::ErrorKind::AlreadyExists => already_there(&path),
                    _ => wrong(e),
                })?;
                return say(format_args!("{}: {bytes} bytes from node {node}", path.display()));
            }
            Err(e) if e.kind() != io::ErrorKind::ConnectionAborted || Instant::now() >= deadline => {
                return Err(wrong(e));
            }
            // It broke off in the middle: what came is kept.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn already_there(path: &Path) -> String {
    format!("{}: it exists already; --force replaces it", path.display())
}

/// Receives what is missing. The part is whole then. An error of the connection is `ConnectionAborted`.
fn receive(
    download: &mut Download,
    part: Option<Part>,
    (config, name): (&Config, &str),
    deadline: Instant,
) -> io::Result<Part> {
    let begins_at = download.begins_at();
    let mut part = match part {
        Some(part) if begins_at > 0 => part,
        old => {
            old.map_or(Ok(()), Part::remove)?;
            Part::create(&config.output, name, download.etag().unwrap_or_default())?
        }
    };
    copy(download, part.begin_at(begins_at)?, deadline)?;
    Ok(part)
}

fn copy(download: &mut Download, out: &mut impl Write, deadline: Instant) -> io::Result<()> {
    let mut room = vec![0; PIECE_BYTES];
    loop {
        let came = download.read(&mut room, deadline);
        match came.map_err(|e| io::Error::new(io::ErrorKind::ConnectionAborted, e))? {
            0 => return Ok(()),
            count => out.write_all(&room[..count])?,
        }
    }
}
