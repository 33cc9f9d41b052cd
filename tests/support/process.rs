//! Any child process: started, watched from the outside, ended by its id. Nobody outlives the run, also when it fails.

use std::fs::File;
use std::io;
use std::ops::{Add, Sub};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What `/proc/PID/stat` counts in: the kernel shows programs 100 ticks a second, whatever it uses itself.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a process may take to come up or to end.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a condition is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running child, ended when dropped.
pub struct ChildProcess {
    child: Child,
    name: String,
}

/// Processor seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel, for the program.
    pub system: f64,
}

impl Cpu {
    /// Both together.
    pub fn seconds(self) -> f64 {
        self.user + self.system
    }
}

impl ChildProcess {
    /// Starts `command`; what it says goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<ChildProcess, String> {
        let failed = |e: io::Error| format!("cannot start {name}: {e}");
        let out = File::create(log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        ChildProcess::adopt(name, command)
    }

    /// Starts `command` as it is.
    pub fn adopt(name: &str, command: &mut Command) -> Result<ChildProcess, String> {
        let child = command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
        Ok(ChildProcess {
            child,
            name: name.to_owned(),
        })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for an end of its own accord; anything but success is an error.
    pub fn finish(mut self) -> Result<(), String> {
        let status = self.child.wait().map_err(|e| format!("{}: {e}", self.name))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{} ended with {status}", self.name))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if wait_until(|| self.has_ended()).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds; an error once patience ends.
pub fn wait_until(mut condition: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= deadline {
            return Err(format!("nothing happened for {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// What process `id` and its ended children have used so far.
pub fn cpu(id: u32) -> Result<Cpu, String> {
    let stat = read(id, "stat")?;
    // The name of the program stands in parentheses and may hold anything; fields are counted behind it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace()
        .collect();
    let seconds = |field: usize| {
        fields
            .get(field)
            .and_then(|ticks| ticks.parse::<f64>().ok())
            .map(|ticks| ticks / TICKS_PER_SECOND)
            .ok_or_else(|| format!("/proc/{id}/stat is not understood"))
    };
    Ok(Cpu {
        user: seconds(11)? + seconds(13)?,
        system: seconds(12)? + seconds(14)?,
    })
}

/// The memory that process `id` has resident, in bytes.
pub fn resident_bytes(id: u32) -> Result<u64, String> {
    memory(id, "VmRSS:")
}

/// The most memory that process `id` ever had resident, in bytes.
pub fn resident_bytes_peak(id: u32) -> Result<u64, String> {
    memory(id, "VmHWM:")
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(id: u32, key: &str) -> Result<u64, String> {
    let status = read(id, "status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
        .map(|kib: u64| kib << 10)
        .ok_or_else(|| format!("/proc/{id}/status is not understood"))
}

/// Process `id` and its children.
pub fn family(id: u32) -> Result<Vec<u32>, String> {
    let children = read(id, &format!("task/{id}/children"))?;
    Ok(std::iter::once(id)
        .chain(children.split_whitespace().filter_map(|child| child.parse().ok()))
        .collect())
}

fn read(id: u32, file: &str) -> Result<String, String> {
    let path = format!("/proc/{id}/{file}");
    std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, other: Cpu) -> Cpu {
        Cpu {
            user: self.user - other.user,
            system: self.system - other.system,
        }
    }
}
