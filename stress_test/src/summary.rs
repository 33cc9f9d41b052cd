//! All results of a run. The JSON file is this value; text, page and comparison are made of it.
//!
//! The schema is named in [`Summary::schema`]. Fields are only ever added under the same name; a change of meaning
//! gets a new number. Times are in milliseconds where a name ends in `_ms`, otherwise in seconds; sizes in bytes;
//! shares in percent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The value of [`Summary::schema`].
pub const SCHEMA: &str = "pixseal-stress/1";

/// A finished (or interrupted) run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// `pixseal-stress/1`.
    pub schema: String,
    /// The version of stress_test.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub started_unix: u64,
    /// What was asked for.
    pub settings: RunSettings,
    /// Whether it passed, and why not.
    pub verdict: Judgement,
    /// How long each part took.
    pub phases: Phases,
    /// Counts of uploads.
    pub uploads: Uploads,
    /// Each member of the cluster.
    pub nodes: Vec<NodeSummary>,
    /// How evenly the uploads were spread; absent when nothing was stored.
    pub balance: Option<Balance>,
    /// Whether each image is where it belongs.
    pub placement: Placement,
    /// Over time.
    pub timeline: Timeline,
    /// How long things took.
    pub latency: Latency,
    /// Each band of size.
    pub bands: Vec<Band>,
    /// Why images had to be offered again.
    pub setbacks: Vec<Setback>,
    /// Why uploads failed, a few of them in the nodes' own words.
    pub failures: Failures,
    /// Reading back.
    pub verification: Verification,
    /// What happened to the cluster meanwhile.
    pub events: Vec<Event>,
    /// What the drill did, if there was one.
    pub drills: Vec<DrillResult>,
    /// Processors and memory.
    pub resources: Resources,
    /// Some uploads as points: bytes, milliseconds, node.
    pub scatter: Vec<(u64, f64, u32)>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunSettings {
    /// How many images.
    pub images: u64,
    /// The smallest side in pixels.
    pub side_min: u32,
    /// The largest side in pixels.
    pub side_max: u32,
    /// Of the images.
    pub seed: u64,
    /// Uploads at the same time.
    pub concurrency: usize,
    /// Whose images.
    pub user: String,
    /// `all` or `assigned`.
    pub offer: String,
    /// `disk` or `memory`.
    pub source: String,
    /// Uploads per second, if fixed; otherwise the load was closed-loop.
    pub rate: Option<f64>,
    /// `none`, `sample` or `all`.
    pub verify: String,
    /// After which the run was to be given up.
    pub timeout_seconds: u64,
    /// The members and their addresses.
    pub cluster: BTreeMap<u32, String>,
    /// Whether the cluster was started for this run.
    pub spawned: bool,
}

/// Whether the run passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// No fault, not interrupted, not out of time.
    pub passed: bool,
    /// Ctrl-C or SIGTERM ended it.
    pub interrupted: bool,
    /// The timeout ended it.
    pub timed_out: bool,
    /// Each reason for not passing, as a sentence.
    pub faults: Vec<String>,
    /// What did not make it fail, but should be known.
    pub warnings: Vec<String>,
    /// Thresholds of `--fail-if` that were crossed.
    pub crossed: Vec<String>,
    /// What to do about it.
    pub remedies: Vec<String>,
}

/// Seconds spent on each part.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Painting to disk, before the first upload.
    pub generate_seconds: f64,
    /// From the first offer to the last receipt.
    pub upload_seconds: f64,
    /// Reading back.
    pub verify_seconds: f64,
    /// Share of the upload threads' time that went into painting.
    pub paint_percent: f64,
}

/// Counts of uploads.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Uploads {
    /// Images that were offered.
    pub offered: u64,
    /// Images that were acknowledged.
    pub stored: u64,
    /// Images that were not.
    pub failed: u64,
    /// Images that had to be offered more than once.
    pub retried: u64,
    /// `stored` of `offered`.
    pub success_percent: f64,
    /// Bytes of the images that were acknowledged.
    pub bytes: u64,
    /// Bytes of bodies sent, repetitions included.
    pub body_bytes_sent: u64,
    /// Acknowledged uploads per second.
    pub per_second: Estimate,
    /// Acknowledged bytes per second.
    pub bytes_per_second: Estimate,
}

/// One member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its id.
    pub id: u32,
    /// Images it took.
    pub uploads: u64,
    /// Their share.
    pub percent: f64,
    /// How many a perfect hash would have given it, over the views that there were.
    pub expected: f64,
    /// Their bytes.
    pub bytes: u64,
    /// Share of the bytes.
    pub bytes_percent: f64,
    /// How many of the images belong to it by their names.
    pub assigned: u64,
    /// Whether it was alive in any view.
    pub seen_alive: bool,
    /// Time until the receipt.
    pub latency: Distribution,
}

/// How evenly the uploads were spread. See `chance`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Balance {
    /// Population standard deviation from the expected share, in percent of all uploads.
    pub sigma_percent: f64,
    /// `Perfect`, `Excellent`, `Good`, `Acceptable`, `Poor`.
    pub grade: String,
    /// The comparison with a perfect hash; absent with one node.
    pub test: Option<UniformityTest>,
    /// Each set of alive nodes that placed uploads.
    pub views: Vec<ViewSummary>,
}

/// The comparison with a perfect hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UniformityTest {
    /// Sigma of a perfect hash on average, in percent.
    pub sigma_mean: f64,
    /// Sigma that 95 of 100 perfect hashes stay under, in percent.
    pub sigma_bound: f64,
    /// Pearson's chi-square.
    pub chi_square: f64,
    /// Degrees of freedom.
    pub freedom: u32,
    /// 0 to 1.
    pub p_value: f64,
    /// Whether the p-value was counted out rather than approximated.
    pub exact: bool,
    /// What it means.
    pub meaning: String,
}

/// A set of alive nodes and the uploads it placed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewSummary {
    /// The alive ids.
    pub alive: Vec<u32>,
    /// Uploads of each.
    pub uploads: BTreeMap<u32, u64>,
}

/// Whether each image is where it belongs. All are counts of images.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Placement {
    /// Stored on the node that its name and the view give.
    pub on_assigned: u64,
    /// Stored elsewhere.
    pub misplaced: u64,
    /// Stored under a view that no node was seen with.
    pub unknown_view: u64,
    /// Accepted by more than one node although the membership was stable.
    pub accepted_twice: u64,
    /// Accepted by more than one node while the membership changed: allowed by the design.
    pub accepted_twice_in_change: u64,
    /// Acknowledged before the whole body was sent; found among those whose last byte was held back.
    pub answered_early: u64,
    /// How many had their last byte held back.
    pub held_back: u64,
    /// Receipts that name another image, size or node.
    pub wrong_receipts: u64,
    /// Receipts that name a view which no node had in that term.
    #[serde(default)]
    pub false_views: u64,
    /// A few of these faults, in words.
    pub examples: Vec<String>,
}

/// Counts per bin of time since the first offer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// The width of a bin.
    pub bin_seconds: f64,
    /// Acknowledged uploads.
    pub uploads: Vec<u64>,
    /// Acknowledged bytes.
    pub bytes: Vec<u64>,
    /// Failed uploads.
    pub failures: Vec<u64>,
    /// Setbacks of acknowledged uploads.
    pub setbacks: Vec<u64>,
}

/// How long things took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// From the intended start to the receipt.
    pub total: Distribution,
    /// Until 100.
    pub offer: Distribution,
    /// The body.
    pub transfer: Distribution,
    /// From the last byte to the receipt.
    pub receipt: Distribution,
    /// How far the client was behind its schedule.
    pub late: Distribution,
    /// Painting.
    pub paint: Distribution,
    /// `total` as a histogram: upper edge of each bin in milliseconds, count. Edges grow by a fixed factor.
    pub histogram: Vec<(f64, u64)>,
}

/// A distribution of durations, in milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Estimate,
    /// Standard deviation.
    pub deviation: f64,
    /// The shortest.
    pub min: f64,
    /// Half are shorter.
    pub p50: Estimate,
    /// 90 % are shorter.
    pub p90: Estimate,
    /// 95 % are shorter.
    pub p95: Estimate,
    /// 99 % are shorter.
    pub p99: Estimate,
    /// 99.9 % are shorter.
    pub p999: Estimate,
    /// The longest.
    pub max: f64,
}

/// A value with its 95 % interval, from this run alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One band of size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Band {
    /// `Small`, `Medium`, `Large`, `XLarge`.
    pub name: String,
    /// Smallest side in pixels.
    pub side_min: u32,
    /// Largest side in pixels.
    pub side_max: u32,
    /// Images stored.
    pub uploads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Time until the receipt.
    pub latency: Distribution,
}

/// A reason for offering again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setback {
    /// With whom; absent if with nobody in particular.
    pub node: Option<u32>,
    /// Why.
    pub cause: String,
    /// How often.
    pub count: u64,
}

/// Why uploads failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failures {
    /// By cause.
    pub causes: BTreeMap<String, u64>,
    /// The first few, in words.
    pub examples: Vec<String>,
}

/// Reading back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verification {
    /// Images that were asked for.
    pub checked: u64,
    /// Came back as generated.
    pub equal: u64,
    /// No node had it although it was acknowledged.
    pub missing: u64,
    /// Came back with other bytes.
    pub different: u64,
    /// Came back as generated, but from an older write than the acknowledged one.
    #[serde(default)]
    pub undone: u64,
    /// Receipts that name no version or no entity tag: whether an older write came back is not known.
    #[serde(default)]
    pub unversioned: u64,
    /// Could not be read.
    pub unreadable: u64,
    /// A few of these, in words.
    pub examples: Vec<String>,
}

/// Something that happened to the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Since the first offer; negative before it.
    pub at_seconds: f64,
    /// What.
    pub text: String,
}

/// One step of a drill.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrillResult {
    /// As it was asked for.
    pub step: String,
    /// The node it struck.
    pub node: u32,
    /// Since the first offer.
    pub at_seconds: f64,
    /// Until every other node had it out of its view; absent if that was never seen.
    pub detected_ms: Option<f64>,
    /// Until every other node followed a living leader, if the leader was struck.
    pub elected_ms: Option<f64>,
}

/// Processors and memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Processors of the client's machine.
    pub cores: usize,
    /// Seconds of processor time that the client spent during the uploads.
    pub client_cpu_seconds: f64,
    /// That, in percent of what the machine had to give meanwhile.
    pub client_cpu_percent: f64,
    /// The client's largest resident memory.
    pub client_rss_bytes_max: u64,
    /// Whether nodes run on the client's machine.
    pub shares_machine: bool,
    /// The processes of nodes that report them.
    pub servers: Vec<ServerUsage>,
}

/// The process of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerUsage {
    /// Whose.
    pub node: u32,
    /// Seconds of processor time during the run.
    pub cpu_seconds: f64,
    /// Largest resident memory seen.
    pub rss_bytes_max: u64,
}
