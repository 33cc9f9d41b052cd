//! What the arguments of the client mean: whose images, which nodes, for how long.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use getopts::Matches;
use pixseal::client::Client;
use pixseal::client::bearer_token::BearerToken;
use pixseal::client::nodes::Patience;
use pixseal::cluster_file;
use pixseal::durable::Replace;
use pixseal::image_id;
use pixseal::members::Members;
use pixseal::tls;
use pixseal::tls::settings::ClientTls;

use super::cluster_state::Credentials;
use super::server_url;

/// A day: longer is a mistake.
const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

/// How long to try for one image, unless --timeout says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many images are uploaded at a time, unless --jobs says otherwise.
const JOBS: usize = 4;
const JOBS_MAX: usize = 64;
/// The cluster file, unless --cluster says otherwise.
const CLUSTER_VARIABLE: &str = "PIXSEAL_CLUSTER";
/// Servers, with spaces between, unless --server or --cluster says otherwise.
const SERVER_VARIABLE: &str = "PIXSEAL_SERVER";
/// Whose images, unless --user says otherwise.
const USER_VARIABLE: &str = "PIXSEAL_USER";

/// What put does where the cluster has an image of the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    /// It stays.
    Keep,
    /// It stays if it is the same.
    SkipSame,
}

/// Why there is no `Config`.
pub(super) enum NoConfig {
    /// The arguments are wrong.
    Usage(String),
    /// They are right, but none of the servers says who the nodes are.
    NoServer(String),
}

/// The arguments, checked.
pub(super) struct Config {
    pub(super) members: Members,
    /// The name of the file that names them, or of the one that would.
    pub(super) file: String,
    pub(super) user: String,
    pub(super) output: PathBuf,
    /// What get does with files that are there.
    pub(super) replace: Replace,
    pub(super) existing: Existing,
    /// How many images are sent or received at a time.
    pub(super) jobs: usize,
    /// None: each command has its own.
    pub(super) timeout: Option<Duration>,
    /// Shown to the nodes.
    pub(super) token: Option<BearerToken>,
    /// How to know the nodes, over TLS.
    pub(super) tls: Option<ClientTls>,
}

impl Config {
    pub(super) fn read(matches: &Matches) -> Result<Config, NoConfig> {
        let is_of_nodes = |command: &String| ["status", "rebalance"].contains(&command.as_str());
        let is_of_nodes = matches.free.first().is_some_and(is_of_nodes);
        let token = BearerToken::find(matches.opt_str("token-file").as_deref().map(Path::new))?;
        let tls = tls::client_of(["ca", "cert", "key"].map(|name| matches.opt_str(name)))?;
        let (members, file) = nodes(matches, (token.as_ref(), tls.as_ref()))?;
        Ok(Config {
            members,
            file,
            user: match matches.opt_str("user") {
                Some(user) => check_user("--user", user)?,
                None if is_of_nodes => String::new(),
                None => match variable(USER_VARIABLE) {
                    Some(user) => check_user(USER_VARIABLE, user)?,
                    None => login()?,
                },
            },
            output: matches.opt_str("output").unwrap_or_else(|| ".".to_owned()).into(),
            replace: match matches.opt_present("force") {
                true => Replace::Allowed,
                false => Replace::Refused,
            },
            existing: match (
                matches.opt_present("no-clobber"),
                matches.opt_present("skip-same"),
            ) {
                (false, false) => Existing::Replace,
                (true, false) => Existing::Keep,
                (false, true) => Existing::SkipSame,
                (true, true) => {
                    let why = "--no-clobber leaves what --skip-same would compare: give one of them";
                    return Err(NoConfig::Usage(why.to_owned()));
                }
            },
            jobs: matches.opt_str("jobs").map_or(Ok(JOBS), |count| jobs(&count))?,
            timeout: matches
                .opt_str("timeout")
                .map(|seconds| timeout(&seconds))
                .transpose()?,
            token,
            tls,
        })
    }

    /// A client of these nodes.
    pub(super) fn client(&self, members: &Members) -> Client {
        Client::new(members, Patience::default())
            .with_token(self.token.clone())
            .with_tls(self.tls.clone())
    }

    /// When to stop trying for an image that is begun now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(TIMEOUT)
    }
}

/// Who the nodes are, and what says so: servers that were named, a cluster file, or what runs when nothing was prepared. Options
/// come before variables.
fn nodes(matches: &Matches, credentials: Credentials<'_>) -> Result<(Members, String), NoConfig> {
    let servers = matches.opt_strs("server");
    let file = matches.opt_str("cluster");
    if !servers.is_empty() && file.is_some() {
        let why = "--server and --cluster both say who the nodes are: give one of them";
        return Err(NoConfig::Usage(why.to_owned()));
    }
    let servers = match (servers.is_empty(), &file, variable(SERVER_VARIABLE)) {
        (true, None, Some(urls)) => urls
            .split(' ')
            .filter(|url| !url.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => servers,
    };
    if !servers.is_empty() {
        return Ok((server_url::members(&servers, credentials)?, servers.join(" ")));
    }
    let file = file.or_else(|| variable(CLUSTER_VARIABLE));
    let members = cluster_file::read(file.as_deref())?;
    Ok((members, file.unwrap_or_else(|| cluster_file::DEFAULT.to_owned())))
}

impl From<String> for NoConfig {
    fn from(why: String) -> NoConfig {
        NoConfig::Usage(why)
    }
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.to_string_lossy().into_owned())
}

fn jobs(count: &str) -> Result<usize, String> {
    match count.parse() {
        Ok(count) if (1..=JOBS_MAX).contains(&count) => Ok(count),
        _ => Err(format!(
            "--jobs takes a number from 1 to {JOBS_MAX}, not {count:?}"
        )),
    }
}

fn timeout(seconds: &str) -> Result<Duration, String> {
    match seconds.parse() {
        Ok(seconds) if (0.0..=TIMEOUT_SECONDS_MAX).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "--timeout takes seconds, at most {TIMEOUT_SECONDS_MAX}, not {seconds:?}"
        )),
    }
}

/// The login name. One that cannot name a user is refused: under another name its images would mix with other people's.
fn login() -> Result<String, String> {
    match std::env::var_os("USER").filter(|user| !user.is_empty()) {
        None => Ok("user".to_owned()),
        Some(user) => check_user("the login name", user.to_string_lossy().into_owned())
            .map_err(|why| format!("{why}; say whose images with --user")),
    }
}

fn check_user(origin: &str, user: String) -> Result<String, String> {
    match image_id::check_user(&user) {
        Ok(()) => Ok(user),
        Err(e) => Err(format!("{origin} {user}: {e}")),
    }
}
