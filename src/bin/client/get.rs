//! `client get`: an image into a file, which appears only when all of it is there, or to standard output.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::download::Download;
use pixseal::client::upload::PIECE_BYTES;
use pixseal::durable::{Durability, Folder, Replace};
use pixseal::image_id::ImageId;
use pixseal::standard_output::say;

use super::config::Config;

pub(super) fn get(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    let path = config.output.join(name);
    let is_to_file = config.output != Path::new("-");
    if is_to_file && config.replace == Replace::Refused && path.symlink_metadata().is_ok() {
        return Err(format!(
            "{}: it exists already; --force replaces it",
            path.display()
        ));
    }
    let deadline = config.deadline();
    let download = client
        .download(&image, None, deadline)
        .map_err(|e| format!("{image}: {e}"))?;
    let mut download = download.ok_or_else(|| format!("{image}: no node has it"))?;
    let wrong = |e: std::io::Error| format!("{image}: {e}");
    if !is_to_file {
        let mut out = std::io::stdout().lock();
        let copied = copy(&mut download, &mut out, deadline).and_then(|_| out.flush());
        // Whoever was reading may have had enough.
        copied.or_else(|e| match e.kind() {
            std::io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(wrong(e)),
        })?;
    } else {
        std::fs::create_dir_all(&config.output).map_err(wrong)?;
        let bytes = save(&mut download, config, name, deadline).map_err(|e| format!("{image}: {e}"))?;
        say(format_args!(
            "{}: {bytes} bytes from node {}",
            path.display(),
            download.node
        ))?;
    }
    client.finish(download);
    Ok(())
}

/// Saves a download as `name`. It has another name until it is whole: a broken download must not look like an image.
fn save(
    download: &mut Download,
    config: &Config,
    name: &str,
    deadline: Instant,
) -> Result<u64, Box<dyn std::error::Error>> {
    let (folder, partial) = (Folder::open(&config.output)?, format!("{name}.partial"));
    // What an earlier download left that was killed.
    folder.remove(&partial)?;
    let temporary = folder.create_temporary(partial, 0o666)?;
    let bytes = copy(download, &mut temporary.file(), deadline)?;
    temporary.commit(&folder, name, config.replace, Durability::Rename)?;
    Ok(bytes)
}

fn copy(download: &mut Download, out: &mut impl Write, deadline: Instant) -> std::io::Result<u64> {
    let mut room = vec![0; PIECE_BYTES];
    let mut total = 0;
    loop {
        match download
            .read(&mut room, deadline)
            .map_err(std::io::Error::other)?
        {
            0 => return Ok(total),
            count => {
                out.write_all(&room[..count])?;
                total += count as u64;
            }
        }
    }
}
