//! The sealed images on disk: one folder, one file for each image, durable before a receipt is sent.
//!
//! ```text
//! images/encrypted_<stem>.<user>.png    sealed images; a name appears only when its bytes are complete
//! images/.pixseal/<node>-<n>.part       uploads on their way, 0600; each node sweeps its own at start
//! images/.pixseal/tombstones/            traces of deletes
//! images/.pixseal/names.lock             held while a name changes
//! images/.pixseal/<node>.lock            held while the node runs
//! images/.pixseal/<node>.drain           the node takes no images
//! ```
//!
//! An upload goes temporary file → all bytes → fdatasync → rename → fsync of the folder → receipt; see
//! [`durable`](crate::durable).
//! Both folders are held open. Several nodes may share them: every name they create while working carries their id.
//! When the images folder is not in place any more, nothing that is found or not found in it counts: [`Error::Lost`].
//!
//! - [`draft`]: an image on its way in
//! - [`held`]: what is here of a name; [`tombstones`]: the trace of a delete
//! - [`listing`]: which images there are; [`usage`]: what those of each user take
//! - [`name_lock`]: one at a time changes a name; [`node_lock`]: one process is a node
//! - [`disk`]: its room, and whether it can be written; [`faults`]: what writes have failed with
//! - [`drain`]: the marker by which people have a node take no images
//! - [`memory`]: what a node remembers from start to start; [`work`]: the folder beside the images
//! - [`sealed`]: one that is read
//! - [`direct`]: past the page cache; [`recent`]: which reads go past it
//! - [`error`]: what can go wrong
//!
//! Knows nothing of keys, of what a sealed file holds, or of HTTP. No image name can reach the `.pixseal`
//! folder, because none begins with a dot; no symbolic link is followed to an image.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room is the edge to the file system"
)]

pub(crate) mod direct;
pub mod disk;
pub(crate) mod draft;
pub mod drain;
pub mod error;
pub(crate) mod faults;
pub mod held;
pub(crate) mod listing;
pub(crate) mod memory;
pub(crate) mod name_lock;
pub(crate) mod node_lock;
pub(crate) mod recent;
pub mod sealed;
pub(crate) mod tombstones;
pub mod usage;
pub(crate) mod work;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use self::disk::Room;
use self::draft::Draft;
use self::error::{Error, failed};
use self::held::{Base, Held};
use self::memory::{Remembered, UnkeptIncarnation};
use self::name_lock::FolderLock;
use self::recent::Recent;
use self::sealed::Sealed;
use self::tombstones::Tombstones;
use self::usage::Usage;
use self::work::WorkFolder;
use crate::condition::Condition;
use crate::durable::{Durability, Folder, Replace};
use crate::image_id::ImageId;
use crate::roster::NodeId;
use crate::version::{Time, Version, WriteOutcome};

/// The images folder, as one node uses it.
pub struct Store {
    images: Arc<Folder>,
    work: WorkFolder,
    incarnation: UnkeptIncarnation,
    tombstones: Tombstones,
    names: FolderLock,
    durability: Durability,
    recent: Arc<Recent>,
    /// None: users have no quota.
    usage: Option<Arc<Usage>>,
}

impl Store {
    /// Opens (and, if need be, creates) the folder, and removes what this node left unfinished. Fails before anything is
    /// removed if another process uses it as this node. A folder that this node has used before is opened on a disk that
    /// cannot be written, too: what lies there can be read, and [`Store::take_fault`] says what is wrong.
    pub fn open(images: &Path, node: NodeId, durability: Durability) -> Result<Store, Error> {
        fs::create_dir_all(images).map_err(|e| failed("create", images, &e))?;
        let images = Folder::open(images)?;
        let work = WorkFolder::open(Arc::clone(&images), node, durability)?;
        let store = Store {
            names: FolderLock::open(&work)?,
            tombstones: Tombstones::open(&work)?,
            incarnation: UnkeptIncarnation::default(),
            images,
            work,
            durability,
            recent: Arc::new(Recent::new()),
            usage: None,
        };
        match store.probe() {
            Err(error) if !error.is_of_disk() => Err(error),
            Ok(()) | Err(_) => Ok(store),
        }
    }

    /// From now on the images of each user may take so many bytes in the folder.
    pub(crate) fn set_user_quota(&mut self, bytes: u64) -> Result<(), Error> {
        self.usage = Some(Arc::new(Usage::new(bytes)));
        self.count_images(|| {}).map(drop)
    }

    /// Finds a place for a draft that will have so many bytes, if it has none yet: an error if its user has too much.
    pub(crate) fn reserve(&self, draft: &mut Draft, id: &ImageId, bytes: u64) -> Result<(), Error> {
        if let Some(usage) = &self.usage
            && draft.reservation.is_none()
        {
            let replaced = self
                .images
                .look_at(&id.file_name())?
                .map_or(0, |(bytes, _)| bytes);
            let reserved = usage.reserve(id.user(), bytes, replaced);
            draft.reservation = Some(reserved.map_err(Error::OverQuota)?);
        }
        Ok(())
    }

    fn note_change(&self, id: &ImageId, came: u64, went: u64) {
        if let Some(usage) = &self.usage {
            usage.change(id.user(), came, went);
        }
    }

    /// Removes images that outlived their delete, which ended with the process or the disk before it had removed them. May
    /// wait for another process that holds the names of a shared folder.
    pub(crate) fn finish_deletes(&self) -> Result<(), Error> {
        let mut ids = Vec::new();
        self.tombstones.for_each(&self.work, |id| ids.push(id))?;
        for id in ids {
            if self.images.look_at(&id.file_name())?.is_some()
                && let Some(version) = self.tombstone(&id)?
            {
                self.finish_delete(&id, version)?;
            }
        }
        Ok(())
    }

    /// Begins a new life of the node at `now`. `random` names the folder, if it has no name yet.
    pub(crate) fn begin_life(&self, now: SystemTime, random: u64) -> Result<Remembered, Error> {
        memory::begin_life(&self.work, &self.images, &self.incarnation, now, random)
    }

    /// Takes an incarnation higher than `other` and returns it: durably, if the disk can be written.
    pub(crate) fn reincarnate(&self, other: u64) -> Result<u64, Error> {
        memory::reincarnate(&self.work, &self.incarnation, other)
    }

    /// Remembers the incarnation, if the disk could not be written when it was taken.
    pub(crate) fn keep_incarnation(&self) -> Result<(), Error> {
        self.incarnation.keep(&self.work)
    }

    /// Remembers the clock; to be called more often than [`memory::CLOCK_AGE_MS_MAX`].
    pub(crate) fn keep_clock(&self, clock: Time) -> Result<(), Error> {
        memory::keep_clock(&self.work, clock)
    }

    /// Remembers which members this node has ever heard.
    pub(crate) fn keep_met(&self, met: &BTreeSet<NodeId>) -> Result<(), Error> {
        memory::keep_met(&self.work, met)
    }

    /// Remembers what this node knows of the others, for one start.
    pub(crate) fn keep_known(&self, known: &str) -> Result<(), Error> {
        memory::keep_known(&self.work, known)
    }

    /// What receipts of this store promise.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether a file can be created now; the error says why not.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.work.create_temporary().map(drop)
    }

    /// A new, empty draft.
    pub(crate) fn begin(&self) -> Result<Draft, Error> {
        let temporary = self.work.create_temporary()?;
        Ok(Draft::new(
            temporary,
            self.durability,
            Arc::clone(&self.work.faults),
        ))
    }

    /// An error if the folder is not where it was when it was opened.
    pub(crate) fn check_in_place(&self) -> Result<(), Error> {
        self.work.check_in_place()
    }

    /// Where the images are.
    pub(crate) fn path(&self) -> &Path {
        self.images.path()
    }

    /// The worst that a write has failed with since this was called last.
    pub(crate) fn take_fault(&self) -> Condition {
        self.work.faults.take()
    }

    /// How much room is left.
    pub(crate) fn room(&self) -> Result<Room, Error> {
        disk::room(&self.images)
    }

    /// Whether all that an upload does to a disk succeeds: a file is created, filled, made durable and removed.
    pub(crate) fn try_write(&self) -> Result<(), Error> {
        disk::try_write(&self.work)
    }

    /// Whether a person has asked this node to take no images.
    pub(crate) fn is_draining(&self) -> Result<bool, Error> {
        drain::is_marked(&self.work)
    }

    /// Passes on what was found, or not found, if the folder was in place afterwards: otherwise it means nothing.
    fn in_place<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.check_in_place()?;
        outcome
    }

    /// The image `id`, if this folder holds it.
    pub fn find(&self, id: &ImageId) -> Result<Option<Sealed>, Error> {
        self.in_place(self.image(id))
    }

    fn image(&self, id: &ImageId) -> Result<Option<Sealed>, Error> {
        let name = id.file_name();
        match self.images.open_file(&name)? {
            Some(file) => Sealed::new(&self.images, &self.recent, file, name),
            None => Ok(None),
        }
    }

    /// The newest of what this folder holds of a name.
    pub(crate) fn held(&self, id: &ImageId) -> Result<Option<Held>, Error> {
        self.in_place(self.newest(id))
    }

    fn newest(&self, id: &ImageId) -> Result<Option<Held>, Error> {
        // The image first: a tombstone is written before the image goes, so that one of the two is always seen.
        let image = self.image(id)?;
        let tombstone = self.tombstone(id)?;
        Ok(match (image, tombstone) {
            (Some(image), Some(version)) if version > image.version() => Some(Held::Tombstone(version)),
            (Some(image), _) => Some(Held::Image(image)),
            (None, Some(version)) => Some(Held::Tombstone(version)),
            (None, None) => None,
        })
    }

    /// Whether other processes use the folder. Until this is said, they do.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.names.set_shared(is_shared);
    }

    /// Gives a draft its name, unless something newer has it, if the folder holds what `base` says. Durable after
    /// [`Store::sync_images`]. The caller has the name to itself in this process.
    pub(crate) fn keep(
        &self,
        draft: &mut Draft,
        id: &ImageId,
        version: Version,
        base: Base,
    ) -> Result<WriteOutcome, Error> {
        self.check_in_place()?;
        let _names = self.names.lock(&self.work)?;
        self.check_base(id, base)?;
        let tombstone = self.tombstone(id)?;
        if let Some(outcome) = tombstone.and_then(|held| WriteOutcome::beside(version, held)) {
            return Ok(outcome);
        }
        // Most names are new: then there is nothing to compare with.
        let mut replaced_bytes = 0;
        let outcome = match draft.rename(&self.images, id, Replace::Refused) {
            Err(Error::Taken) => {
                let image = self.image(id)?;
                let held = image.as_ref().map(Sealed::version);
                if let Some(outcome) = held.and_then(|held| WriteOutcome::beside(version, held)) {
                    return Ok(outcome);
                }
                draft.rename(&self.images, id, Replace::Allowed)?;
                replaced_bytes = image.as_ref().map_or(0, Sealed::bytes);
                match (image, tombstone) {
                    (Some(_), None) => WriteOutcome::Replaced,
                    (None, _) | (_, Some(_)) => WriteOutcome::Created,
                }
            }
            renamed => renamed.map(|()| WriteOutcome::Created)?,
        };
        self.note_change(id, draft.bytes(), replaced_bytes);
        draft.reservation = None;
        if tombstone.is_some() {
            // It is older than the image, and counts no more: if it cannot be removed now, it is swept later.
            let _ = self.tombstones.remove(&self.work, id);
        }
        Ok(outcome)
    }

    /// An error if the folder holds another version of the name.
    fn check_base(&self, id: &ImageId, base: Base) -> Result<(), Error> {
        match base {
            Base::Any => Ok(()),
            Base::Version(base) if self.held(id)?.map(|held| held.copy().version) == base => Ok(()),
            Base::Version(_) => Err(Error::Changed),
        }
    }

    fn tombstone(&self, id: &ImageId) -> Result<Option<Version>, Error> {
        if self.tombstones.are_none() && !self.names.is_shared() {
            return Ok(None);
        }
        self.tombstones.find(&self.work, id)
    }

    /// Writes a tombstone, durably, and removes the image, which is not durable before [`Store::sync_images`]; if the folder
    /// holds what `base` says.
    pub(crate) fn bury(&self, id: &ImageId, version: Version, base: Base) -> Result<WriteOutcome, Error> {
        // The slow part comes before the lock.
        let tombstone = tombstones::prepare(&self.work, version)?;
        let names = self.names.lock(&self.work)?;
        self.check_base(id, base)?;
        let held = self.held(id)?.map(|held| held.copy());
        if let Some(outcome) = held.and_then(|copy| WriteOutcome::beside(version, copy.version)) {
            return Ok(outcome);
        }
        let outcome = match held {
            Some(copy) if !copy.deleted => WriteOutcome::Replaced,
            Some(_) | None => WriteOutcome::Created,
        };
        self.tombstones.place(&self.work, tombstone, id)?;
        // From here on the image does not count. It goes once the tombstone is durable.
        drop(names);
        self.tombstones.sync(&self.work)?;
        self.forget_image(id, version)?;
        Ok(outcome)
    }

    /// Makes a delete durable whose tombstone is here, whatever became of it before.
    pub(crate) fn finish_delete(&self, id: &ImageId, version: Version) -> Result<(), Error> {
        if self.tombstone(id)? != Some(version) {
            return Ok(());
        }
        self.tombstones.sync(&self.work)?;
        self.forget_image(id, version)?;
        self.sync_images()
    }

    /// Makes durable which names are there, in a folder that is in place.
    pub(crate) fn sync_images(&self) -> Result<(), Error> {
        let synced = match self.durability {
            Durability::Fsync => self.images.sync().map_err(|e| Error::Unsynced(e.to_string())),
            Durability::Rename => Ok(()),
        };
        self.work.faults.note(synced)?;
        // What changed in a folder that was taken away is seen when the folder is back, and not before.
        self.check_in_place().map_err(|e| Error::Unsynced(e.to_string()))
    }

    /// Removes what is here of this write. It may come back after a power loss.
    pub(crate) fn forget(&self, id: &ImageId, version: Version) -> Result<(), Error> {
        self.forget_image(id, version)?;
        self.remove_tombstone(id, version)
    }

    /// Removes the image of this write, or an older one. `false`: there was none.
    fn forget_image(&self, id: &ImageId, version: Version) -> Result<bool, Error> {
        let _names = self.names.lock(&self.work)?;
        let Some(image) = self.image(id)?.filter(|image| image.version() <= version) else {
            return Ok(false);
        };
        let was_there = self.images.remove(&id.file_name())?;
        if was_there {
            self.note_change(id, 0, image.bytes());
        }
        Ok(was_there)
    }

    /// Removes the tombstone of this delete, if it is still there, and before that the image, which would be back without it.
    pub(crate) fn forget_tombstone(&self, id: &ImageId, version: Version) -> Result<(), Error> {
        if self.forget_image(id, version)? {
            self.sync_images()?;
        }
        self.remove_tombstone(id, version)
    }

    fn remove_tombstone(&self, id: &ImageId, version: Version) -> Result<(), Error> {
        let _names = self.names.lock(&self.work)?;
        let found = self.tombstones.find(&self.work, id)?;
        if found.is_some_and(|tombstone| tombstone <= version) {
            self.tombstones.remove(&self.work, id)?;
        }
        Ok(())
    }

    /// The tombstones whose version is `wanted`.
    pub(crate) fn tombstones(
        &self,
        wanted: impl Fn(Version) -> bool,
    ) -> Result<Vec<(ImageId, Version)>, Error> {
        let mut ids = Vec::new();
        self.tombstones.for_each(&self.work, |id| ids.push(id))?;
        let mut found = Vec::new();
        for id in ids {
            if let Some(version) = self
                .tombstones
                .find(&self.work, &id)?
                .filter(|version| wanted(*version))
            {
                found.push((id, version));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
