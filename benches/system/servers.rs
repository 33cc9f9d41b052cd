//! The servers that are measured: started as their users start them, each in a folder of its own.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use pixseal::client::upload::Audience;
use pixseal::client::{Client, Patience};
use pixseal::members::Members;
use pixseal::roster::NodeId;
use pixseal::store::Durability;
use tempfile::TempDir;

use super::bare::{self, Way};
use super::load::Door;
use super::process::{self, Process, family, wait_until};

/// The server that the package builds.
const SERVER: &str = env!("CARGO_BIN_EXE_server");
/// Where servers listen.
const PORTS: Range<u16> = 12_000..20_000;

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
pub enum Contestant {
    /// The bare pipeline.
    Bare(Way),
    /// A cluster on one folder, as `make cluster` starts it.
    Pixseal {
        /// Whose server program.
        build: Build,
        /// How many nodes.
        nodes: u32,
        /// What receipts promise.
        durability: Durability,
        /// Whom images are offered to.
        audience: Audience,
    },
    /// nginx with its DAV module.
    Nginx {
        /// Over TLS, with a certificate that nobody has signed.
        tls: bool,
        /// Fed by curl instead of our own client, which speaks no TLS.
        by_curl: bool,
    },
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contestant::Bare(Way::Direct) => write!(f, "bare pipeline, fdatasync"),
            Contestant::Bare(Way::Cached) => write!(f, "bare pipeline, page cache"),
            Contestant::Pixseal {
                build,
                nodes,
                durability,
                audience,
            } => {
                let build = match build {
                    Build::This => "pixseal",
                    Build::Other => "pixseal, the other build",
                };
                write!(f, "{build}, {nodes} nodes, {durability}")?;
                match audience {
                    Audience::All => Ok(()),
                    Audience::Assigned => write!(f, ", offered to one"),
                }
            }
            Contestant::Nginx { tls, by_curl } => {
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
    pub door: Door,
    /// The cluster, if it is one.
    pub members: Option<Members>,
    // Before the folder: servers end while it is there.
    processes: Vec<Process>,
    folder: TempDir,
}

impl Running {
    /// Where they write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ids of all processes, children included.
    pub fn ids(&self) -> Result<Vec<u32>, String> {
        let families: Result<Vec<_>, String> = self.processes.iter().map(|p| family(p.id())).collect();
        Ok(families?.into_iter().flatten().collect())
    }

    /// What they have used so far, together.
    pub fn cpu(&self) -> Result<process::Cpu, String> {
        self.ids()?
            .into_iter()
            .try_fold(process::Cpu::default(), |sum, id| Ok(sum + process::cpu(id)?))
    }
}

/// What was started: where it takes images, who its members are, its processes.
type Started = (Door, Option<Members>, Vec<Process>);

/// Starts what `who` says in `folder`, which is empty, and returns once it serves. `other` is the server of the other
/// build.
pub fn start(who: Contestant, folder: TempDir, other: Option<&Path>) -> Result<Running, String> {
    let (door, members, processes) = match who {
        Contestant::Bare(way) => {
            let (process, address) = bare::start(way, folder.path())?;
            (Door::Bare(address), None, vec![process])
        }
        Contestant::Pixseal {
            build,
            nodes,
            durability,
            audience,
        } => {
            let server = match build {
                Build::This => Path::new(SERVER),
                Build::Other => other.ok_or("no other build was named (--against)")?,
            };
            start_cluster(server, nodes, durability, audience, folder.path())?
        }
        Contestant::Nginx { tls, by_curl } => start_nginx(tls, by_curl, folder.path())?,
    };
    Ok(Running {
        door,
        members,
        processes,
        folder,
    })
}

fn start_cluster(
    server: &Path,
    nodes: u32,
    durability: Durability,
    audience: Audience,
    folder: &Path,
) -> Result<Started, String> {
    let mut text = String::from("[nodes]\n");
    for (id, port) in (1..=nodes).zip(free_ports(nodes)?) {
        text.push_str(&format!("{id} = \"127.0.0.1:{port}\"\n"));
    }
    let members = Members::parse(&text).expect("it was written to be read");
    let file = folder.join("cluster.toml");
    std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut processes = Vec::new();
    for (id, _) in members.iter() {
        let mut command = Command::new(server);
        command.arg(id.to_string()).arg("--cluster").arg(&file);
        command.arg("--images").arg(folder.join("images"));
        command.arg("--secrets").arg(folder.join("secrets"));
        command.args(["--durability", &durability.to_string()]);
        let log = folder.join(format!("{id}.log"));
        processes.push(Process::start("server", &mut command, &log)?);
    }
    let mut client = Client::new(&members, Patience::default());
    wait_until(|| agree(&mut client, &members)).map_err(|e| format!("the cluster found no leader: {e}"))?;
    Ok((Door::Cluster(members.clone(), audience), Some(members), processes))
}

/// Whether every member answers, sees everybody alive and follows the same leader.
fn agree(client: &mut Client, members: &Members) -> bool {
    let everybody: Vec<NodeId> = members.iter().map(|(id, _)| id).collect();
    let leader = everybody.last().copied();
    everybody.iter().all(|id| {
        client
            .status(*id)
            .is_ok_and(|status| status.leader == leader && status.alive == everybody)
    })
}

/// Ports that were free for TCP and UDP a moment ago, below those that the kernel hands out by itself: whoever asks
/// a server that is not up yet could be given its port to ask from.
fn free_ports(count: u32) -> Result<Vec<u16>, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut held = Vec::new();
    for _ in PORTS {
        if held.len() == count as usize {
            return Ok(held.into_iter().map(|(port, _, _)| port).collect());
        }
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let address = (Ipv4Addr::LOCALHOST, port);
        // Held until all are found, so that none is found twice.
        if let (Ok(listener), Ok(socket)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            held.push((port, listener, socket));
        }
    }
    Err(format!(
        "no {count} ports are free from {} to {}",
        PORTS.start, PORTS.end
    ))
}

/// Why nginx cannot be measured here, if it cannot.
pub fn nginx_missing() -> Option<&'static str> {
    if nginx_program().is_none() {
        return Some("nginx is not installed (Debian package nginx): its rows are left out");
    }
    let works = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !works("curl") || Command::new("openssl").arg("version").output().is_err() {
        return Some("curl or openssl is not installed: the rows of nginx are left out");
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

fn start_nginx(tls: bool, by_curl: bool, folder: &Path) -> Result<Started, String> {
    let port = free_ports(1)?[0];
    let address = format!("127.0.0.1:{port}");
    let config = folder.join("nginx.conf");
    let written = |e: std::io::Error| format!("{}: {e}", config.display());
    std::fs::write(&config, nginx_config(&address, tls, folder)).map_err(written)?;
    if tls {
        make_certificate(folder)?;
    }
    let program = nginx_program().ok_or("nginx is not installed")?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&config)
        .arg("-e")
        .arg(folder.join("error.log"));
    let process = Process::start("nginx", &mut command, &folder.join("nginx.log"))?;
    wait_until(|| TcpStream::connect(&address).is_ok()).map_err(|e| {
        format!(
            "nginx did not come up ({e}): {}",
            last_words(&folder.join("error.log"))
        )
    })?;
    let door = match (tls, by_curl) {
        (false, false) => Door::Http(address),
        (tls, _) => Door::Curl(format!("http{}://{address}", if tls { "s" } else { "" })),
    };
    Ok((door, None, vec![process]))
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
            format!("ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;"),
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

fn make_certificate(folder: &Path) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    command.args(["-days", "2", "-subj", "/CN=localhost", "-keyout"]);
    command
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"));
    Process::start("openssl", &mut command, &folder.join("openssl.log"))?.finish()
}
