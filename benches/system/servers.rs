//! The servers that are measured: started as their users start them, each in a folder of its own.

use std::fmt;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use pixseal::client::bearer_token::BearerToken;
use pixseal::client::upload::Audience;
use pixseal::durable::Durability;
use pixseal::members::Members;
use pixseal::tls::files::ClientFiles;
use pixseal::tls::settings::ClientTls;
use tempfile::TempDir;

use super::bare::{self, Pipeline, Sealing, WriteMode};
use super::images::USER;
use super::load::Endpoint;
use crate::support::address::free_address;
use crate::support::certificate::Authority;
use crate::support::cluster::{Layout, TestCluster, TestNode};
use crate::support::process::{self, ChildProcess, family, wait_until};

/// The server that the package builds.
const SERVER: &str = env!("CARGO_BIN_EXE_server");

/// Which server program a cluster runs. The client is this build's in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The one that the package builds.
    This,
    /// The one that `--against` names.
    Other,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The bare pipeline.
    Bare(Pipeline),
    /// A cluster on one folder, as `make cluster` starts it.
    Pixseal(Deployment),
    /// nginx with its DAV module.
    Nginx {
        /// Over TLS.
        tls: bool,
        /// Fed by curl instead of our own client.
        by_curl: bool,
    },
}

/// How a cluster runs, and how it is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Whose server program.
    pub build: Build,
    /// How many nodes.
    pub nodes: u32,
    /// What receipts promise.
    pub durability: Durability,
    /// Whom images are offered to.
    pub audience: Audience,
    /// Nobody gets in without a token.
    pub tokens: bool,
    /// Over TLS.
    pub tls: bool,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Bare(Pipeline { sealing, write, tls }) => {
                let sealing = match sealing {
                    Sealing::Gcm => "",
                    Sealing::GcmInPool => " that seals in a pool",
                    Sealing::CtrHmac => " with CTR + HMAC",
                    Sealing::Nothing => " that does not seal",
                };
                let write = match write {
                    WriteMode::Direct => "fdatasync",
                    WriteMode::Named => "fdatasync, rename and fsync of the folder",
                    WriteMode::Cached => "page cache",
                    WriteMode::Renamed => "page cache, rename",
                };
                let transport = if *tls { ", TLS" } else { "" };
                write!(f, "bare pipeline{sealing}, {write}{transport}")
            }
            Subject::Pixseal(deployment) => {
                let Deployment {
                    nodes, durability, ..
                } = deployment;
                let build = match deployment.build {
                    Build::This => "pixseal",
                    Build::Other => "pixseal, the other build",
                };
                write!(f, "{build}, {nodes} nodes, {durability}")?;
                if deployment.audience == Audience::Assigned {
                    write!(f, ", offered to one")?;
                }
                if deployment.tokens {
                    write!(f, ", with tokens")?;
                }
                if deployment.tls {
                    write!(f, ", TLS")?;
                }
                Ok(())
            }
            Subject::Nginx { tls, by_curl } => {
                let transport = if *tls { "TLS" } else { "plain" };
                let client = if *by_curl { ", by curl" } else { "" };
                write!(f, "nginx {transport}, no fsync{client}")
            }
        }
    }
}

/// Servers that run, until dropped.
pub struct Running {
    /// Where images go.
    pub endpoint: Endpoint,
    servers: Servers,
}

enum Servers {
    Cluster(TestCluster),
    // In this order: the processes end while their folder is there.
    Others(Vec<ChildProcess>, TempDir),
}

impl Running {
    /// Where they write.
    pub fn folder(&self) -> &Path {
        match &self.servers {
            Servers::Cluster(cluster) => cluster.root(),
            Servers::Others(_, folder) => folder.path(),
        }
    }

    /// The members of the cluster, if it is one.
    pub fn members(&self) -> Option<Members> {
        match &self.servers {
            Servers::Cluster(cluster) => Some(cluster.members()),
            Servers::Others(..) => None,
        }
    }

    /// The ids of all processes, children included.
    pub fn ids(&self) -> Result<Vec<u32>, String> {
        let ids: Vec<u32> = match &self.servers {
            Servers::Cluster(cluster) => cluster.running().map(TestNode::pid).collect(),
            Servers::Others(processes, _) => processes.iter().map(ChildProcess::id).collect(),
        };
        let families: Result<Vec<_>, String> = ids.into_iter().map(family).collect();
        Ok(families?.into_iter().flatten().collect())
    }

    /// What they have used so far, together.
    pub fn cpu(&self) -> Result<process::Cpu, String> {
        self.ids()?
            .into_iter()
            .try_fold(process::Cpu::default(), |sum, id| Ok(sum + process::cpu(id)?))
    }
}

/// Starts what `who` says in a new folder in `parent`, and returns once it serves. `other` is the server of the other
/// build.
pub fn start(who: Subject, parent: &Path, other: Option<&Path>) -> Result<Running, String> {
    match who {
        Subject::Bare(pipeline) => {
            let folder = new_folder(parent)?;
            if pipeline.tls {
                prepare_bare(folder.path())?;
            }
            let (process, address) = bare::start(pipeline, folder.path())?;
            Ok(Running {
                endpoint: Endpoint::Bare(address, pipeline.tls.then(|| folder.path().to_owned())),
                servers: Servers::Others(vec![process], folder),
            })
        }
        Subject::Pixseal(deployment) => {
            let server = match deployment.build {
                Build::This => SERVER.as_ref(),
                Build::Other => other.ok_or("no other build was named (--against)")?,
            };
            start_cluster(server, deployment, parent)
        }
        Subject::Nginx { tls, by_curl } => start_nginx(tls, by_curl, new_folder(parent)?),
    }
}

fn new_folder(parent: &Path) -> Result<TempDir, String> {
    tempfile::Builder::new()
        .prefix("served-")
        .tempdir_in(parent)
        .map_err(|e| format!("{}: {e}", parent.display()))
}

/// One folder for the images of all nodes, as `make cluster` has it. With tokens, also one for the bench's user.
fn start_cluster(server: &Path, deployment: Deployment, parent: &Path) -> Result<Running, String> {
    let layout = Layout {
        server: server.to_owned(),
        options: vec!["--durability".to_owned(), deployment.durability.to_string()],
        one_folder: true,
        parent: parent.to_owned(),
    };
    let mut cluster = TestCluster::lay_out(deployment.nodes, layout);
    let token = deployment
        .tokens
        .then(|| cluster.add_token(USER, "read,write,admin"));
    if let Some(token) = &token {
        cluster.show_token(token);
    }
    let tls = deployment.tls.then(|| speak_tls(&mut cluster)).transpose()?;
    cluster.start_all();
    Ok(Running {
        endpoint: Endpoint::Cluster {
            members: cluster.members(),
            audience: deployment.audience,
            token: token.and_then(|token| BearerToken::parse(&token)),
            tls,
        },
        servers: Servers::Cluster(cluster),
    })
}

/// Puts into the folder what a bare pipeline over TLS needs.
#[cfg(feature = "tls")]
fn prepare_bare(folder: &Path) -> Result<(), String> {
    super::bare_tls::prepare(folder);
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn prepare_bare(_: &Path) -> Result<(), String> {
    Err(WITHOUT_TLS.to_owned())
}

#[cfg(not(feature = "tls"))]
const WITHOUT_TLS: &str = "this bench was built without TLS: cargo bench --features tls";

/// Has the nodes, none of which runs, speak TLS, and returns how a client knows them.
#[cfg(feature = "tls")]
fn speak_tls(cluster: &mut TestCluster) -> Result<ClientTls, String> {
    let authority = cluster.speak_tls().file;
    load_client(&authority)
}

#[cfg(not(feature = "tls"))]
fn speak_tls(_: &mut TestCluster) -> Result<ClientTls, String> {
    Err(WITHOUT_TLS.to_owned())
}

fn load_client(ca: &Path) -> Result<ClientTls, String> {
    ClientTls::load(&ClientFiles {
        ca: ca.to_owned(),
        identity: None,
    })
}

/// Why nginx cannot be measured here, if it cannot.
pub fn nginx_missing() -> Option<&'static str> {
    if nginx_program().is_none() {
        return Some("nginx is not installed (Debian package nginx): its rows are left out");
    }
    let works = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !works("curl") {
        return Some("curl is not installed: the rows of nginx are left out");
    }
    None
}

fn nginx_program() -> Option<PathBuf> {
    // Debian keeps it where the search path of users does not lead.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("nginx"))
        .find(|program| program.exists())
}

fn start_nginx(tls: bool, by_curl: bool, place: TempDir) -> Result<Running, String> {
    let folder = place.path();
    let address = free_address().to_string();
    let config = folder.join("nginx.conf");
    let written = |e: std::io::Error| format!("{}: {e}", config.display());
    std::fs::write(&config, nginx_config(&address, tls, folder)).map_err(written)?;
    let (host, _) = address.rsplit_once(':').expect("an address has a port");
    let client = match tls {
        false => None,
        true => {
            let authority = Authority::new(folder, "ca");
            authority.sign(folder, "node", &[host.to_owned()]);
            (!by_curl).then(|| load_client(&authority.file)).transpose()?
        }
    };
    let program = nginx_program().ok_or("nginx is not installed")?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&config)
        .arg("-e")
        .arg(folder.join("error.log"));
    let process = ChildProcess::start("nginx", &mut command, &folder.join("nginx.log"))?;
    wait_until(|| TcpStream::connect(&address).is_ok()).map_err(|e| {
        format!(
            "nginx did not come up ({e}): {}",
            last_words(&folder.join("error.log"))
        )
    })?;
    let endpoint = match by_curl {
        false => Endpoint::Http(address, client),
        true => Endpoint::Curl(format!("http{}://{address}", if tls { "s" } else { "" })),
    };
    Ok(Running {
        endpoint,
        servers: Servers::Others(vec![process], place),
    })
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// A worker a core, no access log, bodies through one buffer of the size that our client sends in, temporary files
/// beside the images so that each gets its name by a rename.
fn nginx_config(address: &str, tls: bool, folder: &Path) -> String {
    let folder = folder.display();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let (listen, certificate) = if tls {
        (
            "ssl",
            format!("ssl_certificate {folder}/node.pem; ssl_certificate_key {folder}/node.key;"),
        )
    } else {
        ("", String::new())
    };
    format!(
        "daemon off; {user} worker_processes {workers}; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 1g; client_body_buffer_size 256k; keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {address} {listen}; {certificate}
        root {folder}/www;
        location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"
    )
}
