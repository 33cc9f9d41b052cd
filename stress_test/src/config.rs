//! The checked options of a run. Every wrong option is an error here, before anything is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use getopts::Matches;
use pixseal::client::Client;
use pixseal::client::bearer_token::BearerToken;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::Audience;
use pixseal::cluster_file;
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::tls;
use pixseal::tls::settings::ClientTls;

use crate::drill::step::{self, DrillStep};
use crate::image_source::image_name;
use crate::option_value::{choice, number, rate, side, small};
use crate::paint::Plan;
use crate::threshold::Threshold;

pub(crate) const CONCURRENCY_MAX: usize = 1024;
pub(crate) const SPAWN_MAX: u32 = 16;
/// `--offer`.
pub(crate) const AUDIENCES: [(&str, Audience); 2] =
    [("all", Audience::All), ("assigned", Audience::Assigned)];
/// `--source`.
pub(crate) const SOURCES: [(&str, SourceKind); 2] =
    [("disk", SourceKind::Disk), ("memory", SourceKind::Memory)];
/// `--verify`.
pub(crate) const VERIFICATIONS: [(&str, Verify); 3] = [
    ("none", Verify::None),
    ("sample", Verify::Sample),
    ("all", Verify::All),
];
const IMAGES_MAX: u64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing.
    None,
    /// About a hundred images, evenly chosen.
    Sample,
    /// Every stored image.
    All,
}

/// Where images wait for their upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// In files, painted before the first upload.
    Disk,
    /// Nowhere: painted just before their upload.
    Memory,
}

/// The options of a run.
pub struct RunConfig {
    pub(crate) plan: Plan,
    pub(crate) images: u64,
    /// Uploads at the same time; at least 1.
    pub(crate) concurrency: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) audience: Audience,
    /// `None`: whatever there is room for.
    pub(crate) source: Option<SourceKind>,
    pub(crate) user: String,
    /// Of the whole run.
    pub(crate) timeout: Duration,
    /// The nodes; replaced if they are spawned.
    pub(crate) members: Members,
    pub(crate) spawn: Option<u32>,
    /// Shown to the nodes.
    token: Option<BearerToken>,
    /// How to know the nodes, over TLS.
    tls: Option<ClientTls>,
    /// For spawned nodes only.
    pub(crate) drill: Vec<DrillStep>,
    pub(crate) verify: Verify,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) plain: bool,
    pub(crate) keep: bool,
    pub(crate) yes: bool,
}

impl RunConfig {
    /// A client of the cluster.
    pub(crate) fn client(&self, patience: Patience) -> Client {
        Client::new(&self.members, patience)
            .with_token(self.token.clone())
            .with_tls(self.tls.clone())
    }

    /// From options that [`Mode::parse`](crate::arguments::Mode::parse) knows.
    pub(crate) fn of(matches: &Matches) -> Result<RunConfig, String> {
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
        let tls = tls::client_of(["ca", "cert", "key"].map(text))?;
        if spawn.is_some() && tls.is_some() {
            return Err("--spawn starts nodes that speak plain HTTP: leave out --ca, or start a cluster with make cluster TLS=1".to_owned());
        }
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
            members: cluster_file::read(text("cluster").as_deref())?,
            spawn,
            token: BearerToken::find(text("token-file").as_deref().map(Path::new))?,
            tls,
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
