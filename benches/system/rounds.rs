//! Rounds: every row once a round, in turns, on the same images; the table of what came out.
//!
//! A machine is not the same twice: other programs run, files were deleted a moment ago, the disk places files
//! elsewhere. So rows are only compared within a round, a ratio is the median of the rounds' ratios, and everything is
//! shown with its range.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::images::ImageSet;
use super::load;
use super::servers::{self, Running, Subject};
use crate::support::process::{self, Cpu};

/// Pause between two looks at whether the run is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What all sections share.
pub struct Bench {
    /// Painted images.
    pub images: PathBuf,
    /// Holds a folder for each measurement, removed at its end.
    pub folder: PathBuf,
    /// How often everything is repeated.
    pub rounds: usize,
    /// How long after the old files were deleted a measurement begins.
    pub settle: Duration,
    /// The server of another build, measured beside this one's.
    pub against: Option<PathBuf>,
    /// Only rows whose name contains this are measured.
    pub only: String,
    /// Raised by a signal: end soon, and tidy up.
    pub stop: std::sync::Arc<AtomicBool>,
}

/// What a row does while it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Uploads the set.
    Upload,
    /// Downloads the set from where its upload left it.
    Download,
    /// Downloads it once more, after it was compared byte by byte and then downloaded until it was in the page cache.
    DownloadAgain,
    /// Reads the sealed files, and nothing else.
    Read,
}

/// One line of a table.
pub struct Row<'s> {
    /// What it is called, before the contestant.
    pub label: String,
    /// Who is measured.
    pub who: Subject,
    /// With which images.
    pub set: &'s ImageSet,
    /// Over how many connections.
    pub connections: usize,
    /// In which direction.
    pub task: Task,
}

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    seconds: f64,
    client: Cpu,
    servers: Cpu,
    /// Of the server that took most.
    resident_bytes_peak: u64,
}

impl<'s> Row<'s> {
    /// An upload over `connections`.
    pub fn upload(who: Subject, set: &'s ImageSet, connections: usize) -> Row<'s> {
        Row {
            label: String::new(),
            who,
            set,
            connections,
            task: Task::Upload,
        }
    }

    /// The same under a name.
    pub fn called(self, label: impl Into<String>) -> Row<'s> {
        Row {
            label: label.into(),
            ..self
        }
    }

    fn name(&self) -> String {
        if self.label.is_empty() {
            return self.who.to_string();
        }
        format!("{} · {}", self.label, self.who)
    }
}

impl Bench {
    /// Starts `who` in a new folder, lets `prepare` do what is not timed, and returns once the machine has settled.
    pub fn prepared(
        &self,
        who: Subject,
        prepare: impl FnOnce(&Running) -> Result<(), String>,
    ) -> Result<Running, String> {
        let running = servers::start(who, &self.folder, self.against.as_deref())?;
        prepare(&running)?;
        self.wait(self.settle)?;
        Ok(running)
    }

    /// Waits, unless the run is to end.
    pub fn wait(&self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.go_on()?;
            std::thread::sleep(LOOK_AGAIN.min(end.saturating_duration_since(Instant::now())));
        }
        self.go_on()
    }

    fn go_on(&self) -> Result<(), String> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        Ok(())
    }

    /// Measures all rows in alternating rounds, prints the table, and below it the ratio of each pair of rows.
    pub fn compare(&self, title: &str, rows: &[Row<'_>], pairs: &[(usize, usize)]) -> Result<(), String> {
        let mut figures: Vec<Vec<Measurement>> = vec![Vec::new(); rows.len()];
        let chosen: Vec<usize> = (0..rows.len())
            .filter(|&at| rows[at].name().contains(&self.only))
            .collect();
        for round in 0..self.rounds {
            // Nobody is always first, and every other round runs backwards, so that nobody is always behind the same.
            let mut order = chosen.clone();
            order.rotate_left(round / 2 % chosen.len().max(1));
            if !round.is_multiple_of(2) {
                order.reverse();
            }
            for at in order {
                eprintln!(
                    "{title}: round {} of {}, {}",
                    round + 1,
                    self.rounds,
                    rows[at].name()
                );
                figures[at].push(self.measure(&rows[at])?);
            }
        }
        print_table(title, rows, &figures);
        for &(one, other) in pairs
            .iter()
            .filter(|(one, other)| chosen.contains(one) && chosen.contains(other))
        {
            let quotients = figures[one].iter().zip(&figures[other]).map(|(a, b)| {
                (rows[one].set.bytes() as f64 / a.seconds) / (rows[other].set.bytes() as f64 / b.seconds)
            });
            println!(
                "  {:<19} {} / {}",
                Spread::of(quotients).show(2),
                rows[one].name(),
                rows[other].name()
            );
        }
        Ok(())
    }

    fn measure(&self, row: &Row<'_>) -> Result<Measurement, String> {
        let running = self.prepared(row.who, |running| match row.task {
            Task::Upload => Ok(()),
            Task::Download | Task::Read => self.upload(row, running),
            Task::DownloadAgain => {
                self.upload(row, running)?;
                self.download(row, running, true)?;
                self.download(row, running, false)
            }
        })?;
        row.set.warm()?;
        let own = std::process::id();
        let before = (process::cpu(own)?, running.cpu()?);
        let start = Instant::now();
        match row.task {
            Task::Upload => self.upload(row, &running)?,
            Task::Download | Task::DownloadAgain => self.download(row, &running, false)?,
            Task::Read => load::read(
                &running.folder().join("images"),
                row.set,
                row.connections,
                &self.stop,
            )?,
        }
        let seconds = start.elapsed().as_secs_f64();
        self.go_on()?;
        let (client, servers) = (process::cpu(own)? - before.0, running.cpu()? - before.1);
        Ok(Measurement {
            seconds,
            client,
            servers,
            resident_bytes_peak: resident_bytes_peak(&running)?,
        })
    }

    fn upload(&self, row: &Row<'_>, running: &Running) -> Result<(), String> {
        load::upload(
            &running.endpoint,
            row.set,
            row.connections,
            running.folder(),
            &self.stop,
        )
    }

    fn download(&self, row: &Row<'_>, running: &Running, compare: bool) -> Result<(), String> {
        let members = running.members().ok_or("only a cluster is downloaded from")?;
        load::download(&members, row.set, row.connections, compare, &self.stop)
    }
}

fn resident_bytes_peak(running: &Running) -> Result<u64, String> {
    let peaks: Result<Vec<u64>, String> = running
        .ids()?
        .into_iter()
        .map(process::resident_bytes_peak)
        .collect();
    Ok(peaks?.into_iter().max().unwrap_or(0))
}

fn print_table(title: &str, rows: &[Row<'_>], figures: &[Vec<Measurement>]) {
    let names: Vec<String> = rows.iter().map(Row::name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    println!("\n{title}");
    println!(
        "  {:width$} {:>20} {:>22} {:>17} {:>17} {:>6}",
        "", "MB/s", "images/s", "client CPU s/GB", "server CPU s/GB", "MiB"
    );
    for ((row, name), figures) in rows
        .iter()
        .zip(names)
        .zip(figures)
        .filter(|(_, figures)| !figures.is_empty())
    {
        let (bytes, count) = (row.set.bytes() as f64, row.set.count() as f64);
        let per_gb = |cpu: fn(&Measurement) -> Cpu| {
            let part = |part: fn(Cpu) -> f64| {
                Spread::of(figures.iter().map(|figure| part(cpu(figure)) / bytes * 1e9)).median
            };
            format!("{:.2} u + {:.2} s", part(|cpu| cpu.user), part(|cpu| cpu.system))
        };
        println!(
            "  {name:width$} {:>20} {:>22} {:>17} {:>17} {:>6.0}",
            Spread::of(figures.iter().map(|figure| bytes / figure.seconds / 1e6)).show(0),
            Spread::of(figures.iter().map(|figure| count / figure.seconds)).show(0),
            per_gb(|figure| figure.client),
            per_gb(|figure| figure.servers),
            Spread::of(figures.iter().map(|figure| figure.resident_bytes_peak as f64)).high / 1048576.0,
        );
    }
}

/// A median with its range.
pub struct Spread {
    /// The value in the middle, or halfway between the two there.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Spread {
            median,
            low: sorted[0],
            high: sorted[sorted.len() - 1],
        }
    }

    /// `median (low–high)` with so many decimals.
    pub fn show(&self, decimals: usize) -> String {
        format!(
            "{:.decimals$} ({:.decimals$}–{:.decimals$})",
            self.median, self.low, self.high
        )
    }
}
