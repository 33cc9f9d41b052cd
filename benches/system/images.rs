//! The images that are uploaded: painted once, kept in files that stay in the page cache.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use pixseal::image_id::ImageId;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use stress_test::paint::{Picture, Plan};

/// Whose images they are.
pub const USER: &str = "bench";
/// The mix of the stress test: 200 images, 1.03 GB.
const MIX_COUNT: u64 = 200;
const MIX: Plan = Plan {
    seed: 1,
    side_min: 100,
    side_max: 2000,
};
/// Different images in a set of equal sizes, as far as they fit into this.
const DISTINCT_BYTES_MAX: u64 = 256 << 20;
const DISTINCT_MAX: u64 = 64;

/// Images to upload, one after the other. A file may be uploaded under several names.
pub struct ImageSet {
    files: Vec<(PathBuf, u64)>,
    count: usize,
}

/// One image of a set.
pub struct BenchImage<'s> {
    /// What it is called.
    pub id: ImageId,
    /// Where its bytes are.
    pub path: &'s Path,
    /// How many.
    pub bytes: u64,
}

impl ImageSet {
    /// The mix of the stress test, painted into `folder` unless it is there.
    pub fn mix(folder: &Path) -> Result<ImageSet, String> {
        ImageSet::painted(&folder.join("mix"), MIX, MIX_COUNT, MIX_COUNT)
    }

    /// `count` squares of `side` pixels, painted into `folder` unless they are there.
    pub fn squares(folder: &Path, side: u32, count: u64) -> Result<ImageSet, String> {
        let plan = Plan {
            seed: 1,
            side_min: side,
            side_max: side,
        };
        let distinct = (DISTINCT_BYTES_MAX / plan.bytes_max()).clamp(1, DISTINCT_MAX);
        let folder = folder.join(format!("side {side}"));
        ImageSet::painted(&folder, plan, distinct.min(count), count)
    }

    fn painted(folder: &Path, plan: Plan, distinct: u64, count: u64) -> Result<ImageSet, String> {
        let failed = |e: std::io::Error| format!("cannot paint images in {}: {e}", folder.display());
        std::fs::create_dir_all(folder).map_err(failed)?;
        let paint = |number: u64| {
            let (picture, path) = (plan.picture(number), folder.join(format!("{number}.png")));
            if !path.exists() {
                paint(&picture, &path)?;
            }
            Ok((path, picture.bytes()))
        };
        let files: Result<Vec<_>, std::io::Error> = (1..=distinct).into_par_iter().map(paint).collect();
        Ok(ImageSet {
            files: files.map_err(failed)?,
            count: usize::try_from(count).expect("a set fits memory"),
        })
    }

    /// Reads every file once: those that the kernel has dropped meanwhile would be read from the disk.
    pub fn warm(&self) -> Result<(), String> {
        for (path, _) in &self.files {
            let read = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
            read.map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    /// How many images it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their bytes together.
    pub fn bytes(&self) -> u64 {
        (0..self.count).map(|i| self.item(i).bytes).sum()
    }

    /// Image `i`, from 0.
    pub fn item(&self, i: usize) -> BenchImage<'_> {
        let (path, bytes) = &self.files[i % self.files.len()];
        BenchImage {
            id: ImageId::new(USER, &format!("image_{i}.png")).expect("the name is plain"),
            path,
            bytes: *bytes,
        }
    }
}

/// Writes the file and waits until the disk has it: what is written back later would be written during a round.
fn paint(picture: &Picture, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    picture.paint(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()
}
