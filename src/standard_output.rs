//! What the programs print: a reader that has had enough is no error, a disk that is full is one.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a text as it is. An error is one sentence.
pub fn print(text: impl Display) -> Result<(), String> {
    offer(text).map(drop)
}

/// The same; `false`: the reader has had enough, and whoever goes on printing prints for nobody.
pub fn offer(text: impl Display) -> Result<bool, String> {
    let mut out = io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    let is_read = written.is_ok();
    ended(written).map(|()| is_read)
}

/// Prints a line.
pub fn say(line: impl Display) -> Result<(), String> {
    print(format_args!("{line}\n"))
}

/// What came of writing to standard output.
pub fn ended(written: io::Result<()>) -> Result<(), String> {
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {e}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_had_enough_is_no_error() {
        let error = |kind: io::ErrorKind| ended(Err(kind.into()));
        assert_eq!(ended(Ok(())), Ok(()));
        assert_eq!(error(io::ErrorKind::BrokenPipe), Ok(()));
        assert!(error(io::ErrorKind::StorageFull).is_err());
    }
}
