//! The event lines that people watch: rooms write them through the `log` crate, one thread prints them.
//!
//! The caller never waits. Lines go into a bounded queue; when the reader of stdout stalls and the queue is full, lines
//! are dropped and counted, and the count is the next line written. A worker or the heartbeat that
//! waited for a terminal would make a node look dead.
//!
//! Event lines (info and below) go to stdout as they are, warnings and errors to stderr with their level; or each line is a
//! JSON object, with its time, its level, the node, and what is known of the request that it is about.
//! What does not show is escaped and long lines are cut, so that nothing a client sends can forge a line.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::kv::{self, Key, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Map, Value};

use crate::cluster::time::wall_ms;
use crate::image_id::is_unseen;
use crate::roster::NodeId;
use crate::timestamp::Timestamp;

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 16 << 10;
/// The longest line, in bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 1024;
/// What most lines take.
const USUAL_BYTES: usize = 192;
/// How much is gathered for one write.
const BATCH_BYTES: usize = 64 << 10;
/// How long lines gather after a write. Waking a thread that waits on the queue costs the speaker a lock and a system
/// call for each line (docs/measurements.md); a thread that sleeps costs it nothing. It is parked and not at a channel, whose
/// readers yield the core some ten times before they sleep.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the end of a program waits until the last lines are written: nobody may ever read them.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As people read them.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

struct Line {
    level: Level,
    text: String,
}

struct Journal {
    format: LogFormat,
    /// Who writes.
    node: NodeId,
    sender: Sender<Line>,
    dropped: Arc<AtomicU64>,
    /// Asks the writing thread to write what there is and to end; it drops what it is sent when it has.
    end: Sender<Sender<()>>,
    writer: Thread,
}

/// Starts the writing thread and makes it the destination of `log`. Call once, at the start of a program. At its end,
/// `log::logger().flush()` writes everything that was logged until then, and ends the writing thread.
pub fn install(level: LevelFilter, format: LogFormat, node: NodeId) -> io::Result<()> {
    let (sender, lines) = bounded(QUEUE_LINES);
    let (end, ended) = bounded(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    let handle = thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || write_lines(&lines, &ended, &|| take_dropped(&counter, format, node)))?;
    let journal = Journal {
        format,
        node,
        sender,
        dropped,
        end,
        writer: handle.thread().clone(),
    };
    log::set_boxed_logger(Box::new(journal)).map_err(io::Error::other)?;
    log::set_max_level(level);
    Ok(())
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = Line {
                level: record.level(),
                text: match self.format {
                    LogFormat::Text => text_line(record),
                    LogFormat::Json => json_line(record, self.node),
                },
            };
            if self.sender.try_send(line).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {
        let (written, done) = bounded(1);
        if self.end.try_send(written).is_ok() {
            self.writer.unpark();
            // Nothing is ever sent: either the thread is done, or nobody reads what it writes.
            let _ = done.recv_timeout(FLUSH_TIME_MAX);
        }
    }
}

/// Warnings and errors say that they are.
fn text_line(record: &Record<'_>) -> String {
    let message = one_line(record.args());
    match record.level() {
        level @ (Level::Error | Level::Warn) => {
            format!("{}: {message}", level.as_str().to_ascii_lowercase())
        }
        _ => message,
    }
}

fn json_line(record: &Record<'_>, node: NodeId) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), Timestamp(wall_ms()).to_string().into());
    object.insert(
        "level".to_owned(),
        record.level().as_str().to_ascii_lowercase().into(),
    );
    object.insert("node".to_owned(), node.0.into());
    object.insert("message".to_owned(), one_line(record.args()).into());
    // It takes whatever it is given.
    let _ = record.key_values().visit(&mut FieldCollector(&mut object));
    serde_json::to_string(&object).expect("an object of plain values")
}

/// What a line tells apart from its message.
struct FieldCollector<'o>(&'o mut Map<String, Value>);

impl<'k> VisitSource<'k> for FieldCollector<'_> {
    fn visit_pair(&mut self, key: Key<'k>, value: kv::Value<'k>) -> Result<(), kv::Error> {
        let value = match (value.to_u64(), value.to_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => one_line(&format_args!("{value}")).into(),
        };
        self.0.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}

fn one_line(args: &std::fmt::Arguments<'_>) -> String {
    let mut text = String::with_capacity(USUAL_BYTES);
    text.write_fmt(*args).expect("a string takes everything");
    // Without a way out, which makes it several bytes at a time.
    let is_printable = text
        .bytes()
        .fold(true, |so_far, b| so_far & matches!(b, b' '..=b'~'));
    if !is_printable {
        text = text
            .chars()
            .fold(String::with_capacity(text.len()), |mut shown, c| {
                match is_unseen(c) {
                    true => shown.extend(c.escape_default()),
                    false => shown.push(c),
                }
                shown
            });
    }
    if text.len() > LINE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        text.push_str(" [cut]");
    }
    text
}

/// A line about the lines that were dropped since this was asked last.
fn take_dropped(dropped: &AtomicU64, format: LogFormat, node: NodeId) -> Option<String> {
    let count = dropped.swap(0, Ordering::Relaxed);
    if count == 0 {
        return None;
    }
    let message = format_args!("{count} lines were dropped, because stdout was not read in time");
    let record = Record::builder().level(Level::Warn).args(message).build();
    Some(match format {
        LogFormat::Text => text_line(&record),
        LogFormat::Json => json_line(&record, node),
    })
}

fn write_lines(
    lines: &Receiver<Line>,
    ended: &Receiver<Sender<()>>,
    take_dropped: &dyn Fn() -> Option<String>,
) {
    let (mut out, mut err) = (String::new(), String::new());
    // Whoever waits for the end sees it when this is dropped.
    let mut ending: Option<Sender<()>> = None;
    loop {
        let mut first = None;
        if ending.is_none() {
            crossbeam_channel::select! {
                recv(lines) -> line => first = line.ok(),
                recv(ended) -> written => match written {
                    Ok(written) => ending = Some(written),
                    // This journal was not installed: another one is.
                    Err(_) => return,
                },
            }
        }
        for line in first.into_iter().chain(lines.try_iter()) {
            let stream = match line.level {
                Level::Error | Level::Warn => &mut err,
                _ => &mut out,
            };
            stream.push_str(&line.text);
            stream.push('\n');
            if out.len() + err.len() > BATCH_BYTES {
                deliver(&mut out, &mut err);
            }
        }
        if let Some(line) = take_dropped() {
            err.push_str(&line);
            err.push('\n');
        }
        deliver(&mut out, &mut err);
        if ending.is_some() {
            return;
        }
        // Should it end before, it is woken.
        thread::park_timeout(PAUSE);
    }
}

/// A closed stdout must not end a server, so a write that fails is let go.
fn deliver(out: &mut String, err: &mut String) {
    let _ = io::stdout().lock().write_all(out.as_bytes());
    let _ = io::stdout().lock().flush();
    let _ = io::stderr().lock().write_all(err.as_bytes());
    out.clear();
    err.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_cannot_forge_a_line() {
        let hostile = "x\nNode 1: Image encrypted\r\u{1b}[2J\u{202e}";
        let line = one_line(&format_args!("refused {hostile}"));
        assert!(line.is_ascii() && !line.bytes().any(|b| b.is_ascii_control()));
        assert!(line.starts_with("refused x\\nNode 1"));
    }

    #[test]
    fn long_lines_are_cut() {
        let line = one_line(&format_args!("{}", "a".repeat(10 * LINE_BYTES_MAX)));
        assert_eq!(line.len(), LINE_BYTES_MAX + " [cut]".len());
    }
}
