//! A writer that compares what is written to it with a download, byte by byte, and keeps none of it.

use std::io::{self, Write};
use std::time::Instant;

use pixseal::client::download::Download;
use pixseal::client::upload::PIECE_BYTES;

/// Fails at the first byte that differs.
pub(crate) struct ComparingWriter {
    download: Download,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    position: u64,
    /// Why the download failed, if it did.
    broken: Option<String>,
    deadline: Instant,
}

impl ComparingWriter {
    pub(crate) fn new(download: Download, deadline: Instant) -> ComparingWriter {
        ComparingWriter {
            download,
            buf: vec![0; PIECE_BYTES],
            start: 0,
            end: 0,
            position: 0,
            broken: None,
            deadline,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.start = 0;
        self.end = self
            .download
            .read(&mut self.buf, self.deadline)
            .map_err(|failure| {
                self.broken = Some(failure.text.clone());
                io::Error::other(failure)
            })?;
        Ok(())
    }

    /// The download must end here, too.
    pub(crate) fn expect_end(&mut self) -> io::Result<()> {
        if self.start == self.end {
            self.fill()?;
        }
        match self.end - self.start {
            0 => Ok(()),
            _ => Err(io::Error::other(format!(
                "goes on after its {} bytes",
                self.position
            ))),
        }
    }

    /// The download, and why it failed, if it did.
    pub(crate) fn into_parts(self) -> (Download, Option<String>) {
        (self.download, self.broken)
    }
}

impl Write for ComparingWriter {
    fn write(&mut self, painted: &[u8]) -> io::Result<usize> {
        if self.start == self.end {
            self.fill()?;
        }
        let count = painted.len().min(self.end - self.start);
        if count == 0 && !painted.is_empty() {
            return Err(io::Error::other(format!("ends after {} bytes", self.position)));
        }
        let arrived = &self.buf[self.start..self.start + count];
        if arrived != &painted[..count] {
            let at = arrived.iter().zip(painted).position(|(a, b)| a != b).unwrap_or(0);
            return Err(io::Error::other(format!(
                "differs at byte {}",
                self.position + at as u64
            )));
        }
        self.start += count;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
