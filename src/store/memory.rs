//! What a node remembers from one start to the next, in small files beside its images.
//!
//! ```text
//! .pixseal/<node>.incarnation    how often the node has started
//! .pixseal/<node>.clock          its clock, a while before it stopped
//! .pixseal/<node>.met            the members that it has ever heard, one id a line
//! .pixseal/<node>.known          what it knew of the others when it left, for the next start
//! .pixseal/folder                a random number that names the folder
//! ```
//!
//! A node starts on a disk that cannot be written, too. Then it holds its incarnation in memory until it can be kept, and
//! the clock makes it higher than that of any earlier life.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::error::{Error, failed};
use super::work::WorkFolder;
use crate::durable::{Durability, Folder, Replace};
use crate::roster::{INCARNATION_MAX, NodeId};
use crate::version::Time;

const INCARNATION: &str = ".incarnation";
const FOLDER: &str = "folder";
/// How old the clock that a life leaves behind is, at most, in milliseconds.
pub(crate) const CLOCK_AGE_MS_MAX: u64 = 10_000;

/// All that a node remembers when it starts.
pub(crate) struct Remembered {
    /// The number of this start: higher than at any start before, also when the clock went back (then the file
    /// remembers) and when the file was lost (then the clock is higher).
    pub(crate) incarnation: u64,
    /// Every write of this node was before this.
    pub(crate) clock: Time,
    /// The members that this node has ever heard.
    pub(crate) met: BTreeSet<NodeId>,
    /// The other nodes that have used the same folder.
    pub(crate) companions: BTreeSet<NodeId>,
    /// What the last life knew of the other nodes when it left: for this start only.
    pub(crate) known: Option<String>,
    /// Names the images folder: nodes that share it, and no others, have the same number. A copy has another one.
    pub(crate) folder: u64,
    /// Why the disk does not have the incarnation, if it cannot be written. Then it may not have that of earlier lives
    /// either, nor all members that they have heard.
    pub(crate) unkept: Option<Error>,
}

/// An incarnation that the disk does not have yet.
#[derive(Default)]
pub(super) struct UnkeptIncarnation(Mutex<Option<u64>>);

impl UnkeptIncarnation {
    /// Writes it down, if there is one.
    pub(super) fn keep(&self, work: &WorkFolder) -> Result<(), Error> {
        let mut unkept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(incarnation) = *unkept {
            let text = format!("{incarnation}\n");
            work.write(&incarnation_file(work), &text, Replace::Allowed, work.durability)?;
            *unkept = None;
        }
        Ok(())
    }

    /// Writes `incarnation` down, or holds it and returns why the disk cannot be written.
    fn keep_or_hold(&self, work: &WorkFolder, incarnation: u64) -> Result<Option<Error>, Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(incarnation);
        match self.keep(work) {
            Err(error) if !error.is_of_disk() => Err(error),
            kept => Ok(kept.err()),
        }
    }
}

/// Begins a new life at `now`. `random` names the folder, if it has no name yet.
pub(super) fn begin_life(
    work: &WorkFolder,
    images: &Folder,
    unkept: &UnkeptIncarnation,
    now: SystemTime,
    random: u64,
) -> Result<Remembered, Error> {
    let incarnation = next_incarnation(work, now)?;
    Ok(Remembered {
        incarnation,
        unkept: unkept.keep_or_hold(work, incarnation)?,
        clock: last_clock(work)?,
        met: met(work)?,
        companions: companions(work)?,
        known: take_known(work),
        folder: folder_id(work, images, random)?,
    })
}

/// To be called more often than [`CLOCK_AGE_MS_MAX`].
pub(super) fn keep_clock(work: &WorkFolder, clock: Time) -> Result<(), Error> {
    let (name, text) = (format!("{}.clock", work.node), format!("{}\n", clock.0));
    work.write(&name, &text, Replace::Allowed, Durability::Rename)
}

pub(super) fn keep_met(work: &WorkFolder, met: &BTreeSet<NodeId>) -> Result<(), Error> {
    let text: String = met.iter().map(|id| format!("{id}\n")).collect();
    work.write(
        &format!("{}.met", work.node),
        &text,
        Replace::Allowed,
        work.durability,
    )
}

pub(super) fn keep_known(work: &WorkFolder, known: &str) -> Result<(), Error> {
    work.write(&known_file(work), known, Replace::Allowed, Durability::Rename)
}

/// What cannot be removed durably would count at the start after this one as well: it counts for none.
fn take_known(work: &WorkFolder) -> Option<String> {
    let known = work.read(&known_file(work)).ok()??;
    let folder = work.folder();
    folder.remove(&known_file(work)).ok()?;
    folder.sync().ok()?;
    Some(known)
}

fn known_file(work: &WorkFolder) -> String {
    format!("{}.known", work.node)
}

fn incarnation_file(work: &WorkFolder) -> String {
    format!("{}{INCARNATION}", work.node)
}

fn last_incarnation(work: &WorkFolder) -> Result<u64, Error> {
    let last = number(work, &incarnation_file(work))?.unwrap_or(0);
    check_incarnation(work, last)
}

fn check_incarnation(work: &WorkFolder, incarnation: u64) -> Result<u64, Error> {
    if incarnation < INCARNATION_MAX {
        return Ok(incarnation);
    }
    let path = work.folder().path().join(incarnation_file(work));
    Err(Error::Io(format!(
        "{}: no node reaches incarnation {incarnation}: set the clock right and remove the file",
        path.display()
    )))
}

fn next_incarnation(work: &WorkFolder, now: SystemTime) -> Result<u64, Error> {
    let clock = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let next = (last_incarnation(work)? + 1).max(u64::try_from(clock).unwrap_or(0));
    check_incarnation(work, next)
}

/// Takes an incarnation higher than `other`: a life of this node that the file does not know.
pub(super) fn reincarnate(work: &WorkFolder, unkept: &UnkeptIncarnation, other: u64) -> Result<u64, Error> {
    let next = check_incarnation(work, last_incarnation(work)?.max(other).saturating_add(1))?;
    unkept.keep_or_hold(work, next)?;
    Ok(next)
}

fn last_clock(work: &WorkFolder) -> Result<Time, Error> {
    let last: Option<u64> = number(work, &format!("{}.clock", work.node))?;
    Ok(last.map_or(Time::default(), |last| Time(last).plus_ms(CLOCK_AGE_MS_MAX)))
}

fn met(work: &WorkFolder) -> Result<BTreeSet<NodeId>, Error> {
    let text = work.read(&format!("{}.met", work.node))?;
    let lines = text.iter().flat_map(|text| text.lines());
    Ok(lines.filter_map(|line| line.parse().ok().map(NodeId)).collect())
}

fn companions(work: &WorkFolder) -> Result<BTreeSet<NodeId>, Error> {
    let mut companions = BTreeSet::new();
    work.folder().for_each_name(|name| {
        let id = name.strip_suffix(INCARNATION).and_then(|id| id.parse().ok());
        companions.extend(id.map(NodeId).filter(|id| *id != work.node));
        Ok(())
    })?;
    Ok(companions)
}

fn folder_id(work: &WorkFolder, images: &Folder, random: u64) -> Result<u64, Error> {
    let number: u64 = match number(work, FOLDER)? {
        Some(number) => number,
        None => {
            work.write(FOLDER, &format!("{random}\n"), Replace::Refused, work.durability)?;
            // Another node may have been faster.
            number(work, FOLDER)?.unwrap_or(random)
        }
    };
    let metadata = images.file().metadata();
    let inode = metadata.map_err(|e| failed("look at", images.path(), &e))?.ino();
    Ok(number ^ inode.rotate_left(32))
}

fn number<T: FromStr>(work: &WorkFolder, name: &str) -> Result<Option<T>, Error> {
    let Some(text) = work.read(name)? else {
        return Ok(None);
    };
    let path = work.folder().path().join(name);
    let broken = |_| Error::Io(format!("{} does not hold a number: remove it", path.display()));
    text.trim().parse().map(Some).map_err(broken)
}
