//! System calls of a node that fail or take their time: by `strace`, where it is.

use std::fs;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::cluster::TestNode;
use super::wait_for;

/// Attached to all threads of a node; lets go of it when dropped.
pub struct Tracer(Child);

impl Tracer {
    /// Does what strace calls `inject` to these calls, as in `("fsync", "error=EIO")`. `None` if there is no strace here.
    pub fn inject(node: &TestNode, (calls, what): (&str, &str)) -> Option<Tracer> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        command.arg(format!("trace={calls}"));
        command.arg("-e").arg(format!("inject={calls}:{what}"));
        let tracer = Tracer(command.arg("-p").arg(node.pid().to_string()).spawn().ok()?);
        let tasks = format!("/proc/{}/task", node.pid());
        let is_traced = |task: std::io::Result<fs::DirEntry>| {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
            !text.contains("TracerPid:\t0")
        };
        wait_for("all threads are traced", || {
            fs::read_dir(&tasks).unwrap().all(is_traced).then_some(())
        });
        Some(tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
