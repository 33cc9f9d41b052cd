//! Which images there are.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use super::Store;
use super::error::Error;
use super::held::Held;
use crate::image_id::ImageId;
use crate::version::Version;

/// One image in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredImage {
    pub(crate) id: ImageId,
    /// Size of the file, in bytes; none for a tombstone.
    pub(crate) sealed_bytes: Option<u64>,
    /// When it was written.
    pub(crate) modified: SystemTime,
    /// The write that it is of.
    pub(crate) version: Version,
}

/// What a folder holds, as it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageCount {
    pub(crate) images: u64,
    /// Of the sealed files.
    pub(crate) bytes: u64,
}

impl Store {
    /// Calls `see` with each name that has an image or a tombstone, in no order, and with some of them twice.
    pub(crate) fn for_each_name(&self, mut see: impl FnMut(ImageId)) -> Result<(), Error> {
        let images = self.for_each_image(|id, _| see(id));
        self.in_place(images.and_then(|()| self.tombstones.for_each(&self.work, see)))
    }

    /// Calls `see` with each name that has an image, and the name of its file.
    fn for_each_image(&self, mut see: impl FnMut(ImageId, &str)) -> Result<(), Error> {
        self.images.for_each_name(|name| {
            if let Some(id) = ImageId::from_file_name(name) {
                see(id, name);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Counts the images, and what they take of each user; `see` is called with each of them.
    pub(crate) fn count_images(&self, mut see: impl FnMut()) -> Result<ImageCount, Error> {
        if let Some(usage) = &self.usage {
            usage.begin_counting();
        }
        let (mut count, mut of_users) = (ImageCount::default(), HashMap::new());
        let counted = self.for_each_image(|id, file| {
            count.images += 1;
            if let Ok(Some((more, _))) = self.images.look_at(file) {
                count.bytes += more;
                if self.usage.is_some() {
                    *of_users.entry(id.user().to_owned()).or_default() += more;
                }
            }
            see();
        });
        let counted = self.in_place(counted);
        if let Some(usage) = &self.usage {
            usage.finish_counting(counted.is_ok().then_some(of_users));
        }
        counted.map(|()| count)
    }

    /// At most `limit` images and tombstones of `user` in the order of their names, beginning after the name `after`;
    /// and the last of these names, if there are more.
    pub(crate) fn list(
        &self,
        user: &str,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<StoredImage>, Option<String>), Error> {
        let mut found: BTreeMap<String, ImageId> = BTreeMap::new();
        let mut more = false;
        self.for_each_name(|id| {
            if id.user() == user && id.name() > after {
                found.insert(id.name().to_owned(), id);
                if found.len() > limit {
                    found.pop_last();
                    more = true;
                }
            }
        })?;
        // Also if that file vanishes now, or cannot be read.
        let next = found
            .last_key_value()
            .map(|(name, _)| name.clone())
            .filter(|_| more);
        let images = found.into_values().filter_map(|id| self.describe(id).transpose());
        let images = self.in_place(images.collect::<Result<_, _>>())?;
        Ok((images, next))
    }

    /// What a listing says of a name; `None` if it has vanished meanwhile.
    fn describe(&self, id: ImageId) -> Result<Option<StoredImage>, Error> {
        let held = match self.newest(&id) {
            Ok(held) => held,
            // A file that only others may read is one image that cannot be opened, and no reason to list nothing.
            Err(Error::Io(_) | Error::Failing(_)) => {
                let found = self.images.look_at(&id.file_name())?;
                return Ok(found.map(|(sealed_bytes, modified)| StoredImage {
                    id,
                    sealed_bytes: Some(sealed_bytes),
                    modified,
                    version: Version::default(),
                }));
            }
            Err(e) => return Err(e),
        };
        Ok(held.map(|held| match held {
            Held::Image(sealed) => StoredImage {
                sealed_bytes: Some(sealed.bytes()),
                modified: sealed.modified(),
                version: sealed.version(),
                id,
            },
            Held::Tombstone(version) => StoredImage {
                id,
                sealed_bytes: None,
                modified: SystemTime::UNIX_EPOCH + Duration::from_millis(version.time.ms()),
                version,
            },
        }))
    }
}
