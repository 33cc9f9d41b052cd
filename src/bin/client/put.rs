//! `client put`: which files are meant, and their uploads.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use pixseal::client::Client;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::standard_output::say;

use super::config::Config;
use super::progress::Progress;

/// Uploads every file, and returns how many failed; an error is wrong usage, and nothing was sent.
pub(super) fn put(client: &mut Client, config: &Config, arguments: &[String]) -> Result<usize, String> {
    let mut files = Vec::new();
    for argument in arguments {
        collect(Path::new(argument), &mut files).map_err(|e| format!("{argument}: {e}"))?;
    }
    refuse_repeated_names(&files)?;
    let mut progress = Progress::new(files.len(), files.iter().map(|(_, bytes)| bytes).sum());
    let mut failed = 0;
    // The images count, not the lines about them: what cannot be printed is said at the end.
    let mut told = Ok(());
    for (path, bytes) in &files {
        progress.show();
        match put_one(client, config, path, *bytes) {
            Ok(line) => told = told.and(progress.say(&line)),
            Err(why) => {
                failed += 1;
                progress.clear();
                eprintln!("client: {}: {why}", path.display());
            }
        }
        progress.done += 1;
        progress.bytes_done += bytes;
    }
    progress.clear();
    told = told.and(say(format_args!(
        "{} of {} files uploaded in {:.1} s",
        files.len() - failed,
        files.len(),
        progress.start.elapsed().as_secs_f64()
    )));
    if let Err(why) = told {
        failed += 1;
        eprintln!("client: {why}");
    }
    Ok(failed)
}

/// A file stands for itself, a folder for every `*.png` directly in it.
fn collect(path: &Path, files: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        files.push((path.to_owned(), metadata.len()));
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    inside.retain(|file| file.extension().is_some_and(|extension| extension == "png") && file.is_file());
    inside.sort();
    for file in inside {
        let bytes = std::fs::metadata(&file)?.len();
        files.push((file, bytes));
    }
    Ok(())
}

/// An image has the name of its file, without the folder: of two files with one name, the second would replace the first.
fn refuse_repeated_names(files: &[(PathBuf, u64)]) -> Result<(), String> {
    let mut known = HashMap::with_capacity(files.len());
    for (path, _) in files {
        let name = path.file_name().unwrap_or_default();
        if let Some(first) = known.insert(name, path) {
            return Err(format!(
                "{} is given twice, as {} and as {}: rename one of them, or upload it for another --user; nothing was sent",
                name.display(),
                first.display(),
                path.display()
            ));
        }
    }
    Ok(())
}

fn put_one(client: &mut Client, config: &Config, path: &Path, bytes: u64) -> Result<String, String> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("the file name is not text")?;
    let image = ImageId::new(&config.user, name).map_err(|e| e.to_string())?;
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let terms = Terms {
        audience: Audience::All,
        deadline: config.deadline(),
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let upload = client.upload(&image, UploadBody::File(&mut file, bytes), terms);
    let receipt = upload.outcome.map_err(|e| e.to_string())?;
    Ok(format!(
        "{image}: {} bytes on node {}",
        receipt.bytes, receipt.node
    ))
}
