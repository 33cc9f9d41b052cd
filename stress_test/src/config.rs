//! From arguments to a checked configuration: whatever is wrong is said here, before anything is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use getopts::{Matches, Options};
use pixseal::client::upload::Audience;
use pixseal::image_id::ImageId;
use pixseal::members::Members;

use crate::drill::step::{self, DrillStep};
use crate::paint::{Plan, SIDE_MAX, SIDE_MIN};
use crate::threshold::Threshold;

/// `--help`; the README has the same text.
pub const USAGE: &str = "\
Usage: stress_test [options]             offer generated images to a cluster and judge it
       stress_test compare A.json B.json   differences between two runs, and whether they exceed the noise

The load:
  -n, --images N         how many images (default: 2000)
      --min-size PX      smallest side in pixels (default: 100)
      --max-size PX      largest side in pixels (default: 2000)
      --seed N           of the images: same seed, same bytes (default: 1)
      --concurrency N    uploads at the same time (default: 8)
      --rate R           start R uploads a second and measure from the intended start (default: as fast as answers come)
      --offer all|assigned   offer every image to all nodes, or to the one that should take it (default: all)
      --source disk|memory   images generated first to disk, or each just before its upload (default: disk if there is room)
      --user USER        whose images (default: stresstest)
      --timeout SECS     give up after so long, generating and reading back included (default: 1200)

The cluster:
      --cluster FILE     the nodes (default: cluster.toml if it exists, otherwise 127.0.0.1:8001 to 8003)
      --spawn N          start N nodes in a temporary folder, and stop them afterwards
      --drill STEP       with --spawn: kill:leader@50%, kill:2@50%, pause:1@30%..60%, restart:each (may be repeated)

The judgement:
      --verify none|sample|all   read images back and compare every byte (default: all)
      --fail-if BOUND    exit 4 if crossed: p99>500ms, rate<50, throughput<100MB/s, sigma>2% ... (may be repeated)

The output:
      --json FILE        everything, for programs (schema in the README)
      --csv FILE         a line for each upload
      --html FILE        a page with plots, in one file
      --log FILE         a line for each upload, for people
      --plain            no live view and no colours (also without a terminal, or with NO_COLOR)
      --keep             keep the generated images, and the folder of --spawn
  -y, --yes              do not wait for ENTER
  -h, --help             this text
  -V, --version          the version

Exit codes: 0 passed, 1 failed, 2 wrong usage or no cluster, 3 timed out, 4 a --fail-if bound crossed, 130 interrupted.
";

/// What `--cluster` is when it is not given and this file exists.
pub const CLUSTER_FILE: &str = "cluster.toml";
/// The most uploads at the same time.
pub const CONCURRENCY_MAX: usize = 1024;
/// The most nodes of `--spawn`.
pub const SPAWN_MAX: u32 = 16;
/// `--offer`.
pub const AUDIENCES: [(&str, Audience); 2] = [("all", Audience::All), ("assigned", Audience::Assigned)];
/// `--source`.
pub const SOURCES: [(&str, SourceKind); 2] = [("disk", SourceKind::Disk), ("memory", SourceKind::Memory)];
/// `--verify`.
pub const VERIFICATIONS: [(&str, Verify); 3] = [
    ("none", Verify::None),
    ("sample", Verify::Sample),
    ("all", Verify::All),
];
const IMAGES_MAX: u64 = 10_000_000;

/// What to do.
pub enum Mode {
    /// Print [`USAGE`].
    Help,
    /// Print the version.
    Version,
    /// Compare two JSON files.
    Compare(PathBuf, PathBuf),
    /// Run.
    Run(Box<RunConfig>),
}

/// How much is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing.
    None,
    /// About a hundred images, evenly chosen.
    Sample,
    /// Every stored image.
    All,
}

/// Where images wait for their upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// In files, painted before the first upload.
    Disk,
    /// Nowhere: painted just before their upload.
    Memory,
}

/// A run, as asked for.
pub struct RunConfig {
    /// The images.
    pub plan: Plan,
    /// How many.
    pub images: u64,
    /// Uploads at the same time; at least 1.
    pub concurrency: usize,
    /// Uploads per second, if fixed.
    pub rate: Option<f64>,
    /// Whom images are offered to.
    pub audience: Audience,
    /// `None`: whatever there is room for.
    pub source: Option<SourceKind>,
    /// Whose images.
    pub user: String,
    /// For the whole run.
    pub timeout: Duration,
    /// The nodes; replaced if they are spawned.
    pub members: Members,
    /// How many nodes to start.
    pub spawn: Option<u32>,
    /// What to do to them.
    pub drill: Vec<DrillStep>,
    /// How much is read back.
    pub verify: Verify,
    /// Bounds.
    pub thresholds: Vec<Threshold>,
    /// `--json`.
    pub json: Option<PathBuf>,
    /// `--csv`.
    pub csv: Option<PathBuf>,
    /// `--html`.
    pub html: Option<PathBuf>,
    /// `--log`.
    pub log: Option<PathBuf>,
    /// No live view.
    pub plain: bool,
    /// Leave files behind.
    pub keep: bool,
    /// Ask nothing.
    pub yes: bool,
}

impl Mode {
    /// Reads the arguments (without the program's name) and the cluster file.
    pub fn parse(arguments: &[String]) -> Result<Mode, String> {
        let matches = options().parse(arguments).map_err(|e| e.to_string())?;
        if matches.opt_present("help") {
            return Ok(Mode::Help);
        }
        if matches.opt_present("version") {
            return Ok(Mode::Version);
        }
        match matches.free.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Mode::Run(Box::new(RunConfig::of(&matches)?))),
            ["compare", a, b] => Ok(Mode::Compare(a.into(), b.into())),
            ["compare", ..] => Err("compare takes two files: stress_test compare A.json B.json".to_owned()),
            [word, ..] => Err(format!("{word:?} is not understood")),
        }
    }
}

fn options() -> Options {
    let mut options = Options::new();
    for (short, long) in [
        ("n", "images"),
        ("", "min-size"),
        ("", "max-size"),
        ("", "seed"),
        ("", "concurrency"),
    ] {
        options.optopt(short, long, "", "N");
    }
    for long in [
        "rate", "offer", "source", "user", "timeout", "cluster", "spawn", "verify", "json", "csv", "html",
        "log",
    ] {
        options.optopt("", long, "", "VALUE");
    }
    options
        .optmulti("", "drill", "", "STEP")
        .optmulti("", "fail-if", "", "BOUND");
    options
        .optflag("", "plain", "")
        .optflag("", "keep", "")
        .optflag("y", "yes", "");
    options.optflag("h", "help", "").optflag("V", "version", "");
    options
}

impl RunConfig {
    fn of(matches: &Matches) -> Result<RunConfig, String> {
        let text = |name: &str| matches.opt_str(name);
        let plan = Plan {
            seed: number(matches, "seed", 1, 0..=u64::MAX)?,
            side_min: side(matches, "min-size", 100)?,
            side_max: side(matches, "max-size", 2000)?,
        };
        if plan.side_min > plan.side_max {
            return Err(format!(
                "--min-size {} is larger than --max-size {}",
                plan.side_min, plan.side_max
            ));
        }
        let images = number(matches, "images", 2000, 1..=IMAGES_MAX)?;
        let user = text("user").unwrap_or_else(|| "stresstest".to_owned());
        ImageId::new(&user, &image_name(images)).map_err(|e| format!("--user {user}: {e}"))?;
        let spawn = match text("spawn") {
            None => None,
            Some(_) => Some(small(matches, "spawn", 3, u64::from(SPAWN_MAX))?),
        };
        let drills = matches.opt_strs("drill");
        if spawn.is_none() && !drills.is_empty() {
            return Err("--drill strikes only nodes that --spawn started".to_owned());
        }
        let drill: Result<Vec<_>, _> = drills
            .iter()
            .map(|d| step::parse(d, spawn.unwrap_or(0)))
            .collect();
        let thresholds: Result<_, _> = matches
            .opt_strs("fail-if")
            .iter()
            .map(|t| Threshold::parse(t))
            .collect();
        Ok(RunConfig {
            plan,
            images,
            concurrency: small(matches, "concurrency", 8, CONCURRENCY_MAX as u64)? as usize,
            rate: rate(matches)?,
            audience: choice(matches, "offer", &AUDIENCES)?.unwrap_or(Audience::All),
            source: choice(matches, "source", &SOURCES)?,
            user,
            timeout: Duration::from_secs(number(matches, "timeout", 1200, 1..=86_400 * 30)?),
            members: read_members(text("cluster").as_deref())?,
            spawn,
            drill: drill?.concat(),
            verify: choice(matches, "verify", &VERIFICATIONS)?.unwrap_or(Verify::All),
            thresholds: thresholds.map_err(|e: String| format!("--fail-if: {e}"))?,
            json: text("json").map(PathBuf::from),
            csv: text("csv").map(PathBuf::from),
            html: text("html").map(PathBuf::from),
            log: text("log").map(PathBuf::from),
            plain: matches.opt_present("plain"),
            keep: matches.opt_present("keep"),
            yes: matches.opt_present("yes"),
        })
    }
}

/// What a choice is called on the command line.
pub fn name_of<T: Copy + PartialEq>(choices: &[(&'static str, T)], choice: T) -> String {
    let found = choices.iter().find(|(_, known)| *known == choice);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

/// What image `number` is called.
pub fn image_name(number: u64) -> String {
    format!("stress_image_{number}.png")
}

fn number(
    matches: &Matches,
    name: &str,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<u64, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| {
            format!(
                "--{name} {text}: a whole number from {} to {} is needed",
                allowed.start(),
                allowed.end()
            )
        })
}

fn small(matches: &Matches, name: &str, default: u32, max: u64) -> Result<u32, String> {
    let value = number(matches, name, u64::from(default), 1..=max)?;
    Ok(u32::try_from(value).expect("the largest allowed value is small"))
}

fn side(matches: &Matches, name: &str, default: u32) -> Result<u32, String> {
    let value = number(
        matches,
        name,
        u64::from(default),
        u64::from(SIDE_MIN)..=u64::from(SIDE_MAX),
    )?;
    Ok(u32::try_from(value).expect("SIDE_MAX is a u32"))
}

fn rate(matches: &Matches) -> Result<Option<f64>, String> {
    let Some(text) = matches.opt_str("rate") else {
        return Ok(None);
    };
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(Some(rate)),
        _ => Err(format!(
            "--rate {text}: uploads per second are needed, at least 0.001"
        )),
    }
}

fn choice<T: Copy>(matches: &Matches, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, choice)) => Ok(Some(*choice)),
        None => Err(format!("--{name} {text}: only {} are known", names.join(", "))),
    }
}

fn read_members(file: Option<&str>) -> Result<Members, String> {
    let file = match file {
        Some(file) => file,
        None if Path::new(CLUSTER_FILE).exists() => CLUSTER_FILE,
        None => return Ok(Members::default()),
    };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    Members::parse(&text).map_err(|e| format!("{file}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &str) -> Result<RunConfig, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        match Mode::parse(&arguments)? {
            Mode::Run(config) => Ok(*config),
            _ => Err("another command".to_owned()),
        }
    }

    #[test]
    fn nothing_said_is_the_run_of_the_seed() {
        let config = config("").unwrap();
        assert_eq!(
            (config.images, config.plan.side_min, config.plan.side_max),
            (2000, 100, 2000)
        );
        assert_eq!(
            (config.concurrency, config.user.as_str(), config.verify),
            (8, "stresstest", Verify::All)
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, reason) in [
            ("-n 0", "--images 0"),
            ("-n x", "whole number"),
            ("--min-size 300 --max-size 200", "larger than"),
            ("--max-size 20000", "16383"),
            ("--concurrency 0", "1 to 1024"),
            ("--verify some", "none, sample, all"),
            ("--source tape", "disk, memory"),
            ("--user a.b", "--user a.b"),
            ("--rate -1", "--rate -1"),
            ("--drill kill:1@50%", "--spawn"),
            ("--spawn 3 --drill kill:4@50%", "kill:4@50%"),
            ("--fail-if p98>1", "--fail-if"),
            ("--cluster /nonexistent", "/nonexistent"),
            ("--colour", "colour"),
            ("upload", "upload"),
            ("compare a.json", "two files"),
        ] {
            let refusal = config(arguments).err().unwrap();
            assert!(refusal.contains(reason), "{arguments}: {refusal}");
        }
    }

    #[test]
    fn the_usage_is_in_the_readme_to_the_letter() {
        assert!(include_str!("../../README.md").contains(USAGE.trim_end()));
    }

    #[test]
    fn every_option_is_in_the_usage() {
        let brief = options().usage("");
        for word in brief.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(USAGE.contains(word), "{word}");
        }
    }
}
