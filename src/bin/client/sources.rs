//! Which files `client put` means: those that are named, those in folders, and standard input.
//!
//! Nothing is left out silently: whatever is not uploaded is in `skipped` or in `failed`, with the reason.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest image that is read from standard input, which is held in memory.
const STDIN_BYTES_MAX: u64 = 1 << 30;
/// How deep sub-folders are followed.
const DEPTH_MAX: usize = 64;

/// An image to be uploaded.
pub(super) struct PutSource {
    /// What people call it.
    pub(super) path: PathBuf,
    /// None: the file name is not text.
    pub(super) name: Option<String>,
    pub(super) bytes: u64,
    /// What was read from standard input; none: the file is read.
    pub(super) content: Option<Vec<u8>>,
}

/// Everything that the arguments name.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) found: Vec<PutSource>,
    /// What folders hold besides images, and why it is not uploaded.
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
    /// What was asked for and cannot be read, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
}

impl Sources {
    /// An error is wrong usage.
    pub(super) fn find(
        arguments: &[String],
        is_recursive: bool,
        name: Option<&str>,
    ) -> Result<Sources, String> {
        let mut sources = Sources::default();
        if name.is_some() && arguments.len() != 1 {
            return Err("--name is for one file: give one, or leave it out".to_owned());
        }
        for argument in arguments {
            match (argument.as_str(), name) {
                ("-", None) => {
                    return Err("standard input has no name: say --name NAME".to_owned());
                }
                ("-", Some(name)) => sources.found.push(standard_input(name)?),
                _ => sources.add(Path::new(argument), is_recursive),
            }
        }
        if let Some(name) = name {
            match sources.found.as_mut_slice() {
                [only] if !Path::new(&arguments[0]).is_dir() => only.name = Some(name.to_owned()),
                [] if !sources.failed.is_empty() => {}
                _ => {
                    return Err(format!(
                        "--name is for one file, and {} is a folder",
                        arguments[0]
                    ));
                }
            }
        }
        sources.refuse_repeated_names()?;
        Ok(sources)
    }

    /// A file stands for itself, a folder for every PNG file in it.
    fn add(&mut self, path: &Path, is_recursive: bool) {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                self.add_folder(path, is_recursive.then_some(DEPTH_MAX));
            }
            Ok(metadata) => self.add_file(path, metadata.len()),
            Err(e) => {
                let is_pattern = path.to_string_lossy().contains(['*', '?', '[']);
                let why = match is_pattern && e.kind() == std::io::ErrorKind::NotFound {
                    true => {
                        "this pattern matches no file (the shell expands it, if it is not quoted)".to_owned()
                    }
                    false => e.to_string(),
                };
                self.failed.push((path.to_owned(), why));
            }
        }
    }

    fn add_file(&mut self, path: &Path, bytes: u64) {
        let name = path.file_name().and_then(|name| name.to_str());
        self.found.push(PutSource {
            path: path.to_owned(),
            name: name.map(str::to_owned),
            bytes,
            content: None,
        });
    }

    /// `depth`: how many levels of sub-folders are followed; none: they are skipped.
    fn add_folder(&mut self, folder: &Path, depth: Option<usize>) {
        let inside = std::fs::read_dir(folder).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut inside = match inside {
            Ok(inside) => inside,
            Err(e) => return self.failed.push((folder.to_owned(), e.to_string())),
        };
        inside.sort();
        for path in inside {
            match std::fs::metadata(&path) {
                Err(e) => self.failed.push((path, e.to_string())),
                // A link to a folder could lead back here.
                Ok(metadata) if metadata.is_dir() && path.is_symlink() => {
                    self.skipped.push((path, "it is a link to a folder"));
                }
                Ok(metadata) if metadata.is_dir() => match depth {
                    None => self
                        .skipped
                        .push((path, "it is a folder: -r takes sub-folders too")),
                    Some(0) => self.skipped.push((path, "it lies too deep")),
                    Some(depth) => self.add_folder(&path, Some(depth - 1)),
                },
                Ok(metadata) if !metadata.is_file() => {
                    self.skipped.push((path, "it is no regular file"));
                }
                Ok(metadata) if is_png(&path) => self.add_file(&path, metadata.len()),
                Ok(_) => self.skipped.push((path, "its name does not end in .png")),
            }
        }
    }

    /// An image has the name of its file, without the folder: of two files with one name, the second would replace the first.
    fn refuse_repeated_names(&self) -> Result<(), String> {
        let mut known = HashMap::with_capacity(self.found.len());
        for source in &self.found {
            let Some(name) = &source.name else { continue };
            if let Some(first) = known.insert(name, &source.path) {
                return Err(format!(
                    "{name} is given twice, as {} and as {}: rename one of them, or upload it for another --user; nothing was sent",
                    first.display(),
                    source.path.display()
                ));
            }
        }
        Ok(())
    }
}

fn is_png(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

fn standard_input(name: &str) -> Result<PutSource, String> {
    let mut content = Vec::new();
    let read = std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut content);
    read.map_err(|e| format!("cannot read standard input: {e}"))?;
    let bytes = content.len() as u64;
    if bytes > STDIN_BYTES_MAX {
        return Err(format!(
            "standard input holds more than {STDIN_BYTES_MAX} bytes: save it as a file and put that"
        ));
    }
    Ok(PutSource {
        path: "standard input".into(),
        name: Some(name.to_owned()),
        bytes,
        content: Some(content),
    })
}
