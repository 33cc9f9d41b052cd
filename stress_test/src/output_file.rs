//! The files that a run leaves on request: JSON for programs, a page for people.

#![allow(clippy::disallowed_types, reason = "an edge: it writes files")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::config::RunConfig;
use crate::report::page;
use crate::summary::Summary;

/// Writes `--json` and `--html`.
pub(crate) fn write_all(config: &RunConfig, summary: &Summary) -> Result<(), String> {
    let write = |path: &Path, content: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let mut file = create(path).map_err(|e| e.to_string())?;
        content(&mut file)
            .and_then(|()| file.flush())
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    if let Some(path) = &config.json {
        write(path, &|file| {
            serde_json::to_writer_pretty(&mut *file, summary)?;
            writeln!(file)
        })?;
    }
    if let Some(path) = &config.html {
        write(path, &|file| file.write_all(page::html(summary).as_bytes()))?;
    }
    Ok(())
}

/// A new file; an error names it.
pub(crate) fn create(path: &Path) -> io::Result<BufWriter<File>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    Ok(BufWriter::new(File::create(path).map_err(named)?))
}
