//! The recipes of `docs/proxy.md` with the real nginx and Caddy: TLS in front, three nodes behind, and clients that people use.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::address::free_address;
use support::certificate::Authority;
use support::cluster::TestCluster;
use support::process::ChildProcess;
use support::{picture, wait_for};

const NAME: &str = "images.example";

/// nginx or Caddy with a certificate for [`NAME`], in a folder of its own.
struct Proxy {
    folder: tempfile::TempDir,
    _process: ChildProcess,
}

/// The first block of code in this language in the document.
fn recipe(language: &str) -> String {
    let text = include_str!("../docs/proxy.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Proxy {
    /// Runs nginx with these servers, whose certificate and key are put in place.
    fn start(servers: &str) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        Authority::new(folder.path(), "ca").sign(folder.path(), "proxy", &[NAME.to_owned()]);
        let servers = servers
            .replace(
                "/etc/nginx/images.example.crt",
                path("proxy.pem").to_str().unwrap(),
            )
            .replace(
                "/etc/nginx/images.example.key",
                path("proxy.key").to_str().unwrap(),
            );
        let own = |name: &str| path(name).display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {};\n", own(kind)))
            .collect();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {};\nerror_log {};\nevents {{ worker_connections 512; }}\nhttp {{\n\
             access_log off;\n{temporary}{servers}\n}}\n",
            own("pid"),
            own("error.log")
        );
        fs::write(path("nginx.conf"), config).unwrap();
        let mut nginx = Command::new("nginx");
        nginx
            .arg("-c")
            .arg(path("nginx.conf"))
            .arg("-p")
            .arg(folder.path());
        let nginx = ChildProcess::start("nginx", &mut nginx, &path("nginx.log")).unwrap();
        Proxy {
            folder,
            _process: nginx,
        }
    }

    /// Runs Caddy with this site, on that port.
    fn start_caddy(site: &str, port: u16) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        Authority::new(folder.path(), "ca").sign(folder.path(), "proxy", &[NAME.to_owned()]);
        // Where nobody can be asked for a certificate, and others may have port 80.
        let own = format!(
            "{{\n    admin off\n    auto_https disable_redirects\n}}\n\n{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {} {}\n",
            text(&path("proxy.pem")),
            text(&path("proxy.key"))
        );
        let config = site.replace(&format!("{NAME} {{\n"), &own);
        fs::write(path("Caddyfile"), config).unwrap();
        let mut caddy = Command::new("caddy");
        caddy.arg("run").arg("--config").arg(path("Caddyfile"));
        caddy
            .env("HOME", folder.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME");
        let process = ChildProcess::start("caddy", &mut caddy, &path("caddy.log")).unwrap();
        Proxy {
            folder,
            _process: process,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// curl that finds [`NAME`] here and knows its certificate; the status and the content.
    fn curl(&self, ports: &[u16], arguments: &[&str]) -> (u16, Vec<u8>) {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "20",
            "-w",
            "%{stderr}%{http_code}",
            "--cacert",
        ]);
        curl.arg(self.path("ca.pem"));
        for port in ports {
            curl.arg("--resolve").arg(format!("{NAME}:{port}:127.0.0.1"));
        }
        let output = run(curl.args(arguments));
        let status = String::from_utf8(output.stderr).unwrap();
        (
            status.trim().parse().unwrap_or_else(|_| panic!("{status}")),
            output.stdout,
        )
    }
}

fn await_proxy(port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for("the proxy listens", || std::net::TcpStream::connect(address).ok());
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "needs nginx, curl and Python with requests: make proxy-test"]
fn one_name_for_nodes_that_pass_requests_on() {
    one_name(|cluster, port| {
        let mut servers = recipe("nginx").replace("8443", &port.to_string());
        for (id, node) in (1..).zip(&cluster.nodes) {
            servers = servers.replace(&format!("127.0.0.1:800{id};"), &format!("{};", node.address));
        }
        Proxy::start(&servers)
    });
}

#[test]
#[ignore = "needs Caddy, curl and Python with requests: make proxy-test"]
fn one_name_by_caddy_for_nodes_that_pass_requests_on() {
    if !Command::new("caddy")
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        println!("proxy: SKIPPED Caddy, it is not installed here (Debian package caddy)");
        return;
    }
    one_name(|cluster, port| {
        let mut site = recipe("text");
        for (id, node) in (1..).zip(&cluster.nodes) {
            site = site.replace(&format!("127.0.0.1:800{id}"), &node.address.to_string());
        }
        Proxy::start_caddy(&site, port)
    });
}

/// Nodes that pass requests on, behind the proxy that `start` starts in front of them.
fn one_name(start: impl FnOnce(&TestCluster, u16) -> Proxy) {
    let mut cluster = TestCluster::prepare(3, &["--relay", "--allow-host", NAME]);
    let token = cluster.add_token("alice", "read,write,delete,list,admin");
    cluster.show_token(&token);
    cluster.start_all();
    cluster.await_settled();
    let port = free_address().port();
    let proxy = start(&cluster, port);
    await_proxy(port);
    let (image, file) = (picture::sized(2_000_000), proxy.path("cat.png"));
    fs::write(&file, &image).unwrap();
    let site = format!("https://{NAME}:{port}");
    let shown = format!("Authorization: Bearer {token}");
    let curl = |arguments: &[&str]| proxy.curl(&[port], &[&["-H", &shown], arguments].concat());
    for number in 0..9 {
        let url = format!("{site}/images/alice/cat{number}.png");
        assert_eq!(curl(&["-T", text(&file), &url]).0, 201, "{url}");
        let (status, content) = curl(&[&url]);
        assert!(status == 200 && content == image, "{url}: {status}");
    }
    let url = format!("{site}/images/alice/cat0.png");
    // A page of the same site, and one of another.
    assert_eq!(
        curl(&["-H", &format!("Origin: {site}"), "-T", text(&file), &url]).0,
        200
    );
    assert_eq!(
        curl(&["-H", "Origin: https://evil.example", "-T", text(&file), &url]).0,
        403
    );
    assert_eq!(proxy.curl(&[port], &[&url]).0, 401, "without the token");
    assert_eq!(curl(&[&format!("{site}/healthz")]).0, 200);
    assert_eq!(curl(&["-X", "DELETE", &url]).0, 204);
    assert_eq!(curl(&[&url]).0, 404);
    let (status, list) = curl(&[&format!("{site}/images/alice/")]);
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!((status, list["images"].as_array().unwrap().len()), (200, 8));
    by_python(&proxy, port, &token, &file);
}

/// `requests` with a generator as the body, which can be read once only.
fn by_python(proxy: &Proxy, port: u16, token: &str, file: &Path) {
    let program = r#"
import socket, sys, requests
port, token, path, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest: found("127.0.0.1" if host == "images.example" else host, *rest)
image = open(path, "rb").read()
def pieces():
    for at in range(0, len(image), 50_000):
        yield image[at:at + 50_000]
session = requests.Session()
session.verify, session.trust_env = ca, False
session.headers["Authorization"] = "Bearer " + token
for number in range(9):
    url = f"https://images.example:{port}/images/alice/python{number}.png"
    put = session.put(url, data=pieces())
    assert put.status_code == 201, (put.status_code, put.text)
    assert not put.history, "it was redirected"
    got = session.get(url)
    assert got.status_code == 200 and got.content == image
    assert session.get(url, headers={"If-None-Match": got.headers["ETag"]}).status_code == 304
    assert session.get(url, headers={"Range": "bytes=0-7"}).content == image[:8]
    assert session.delete(url).status_code == 204
"#;
    run(Command::new("python3")
        .args(["-c", program, &port.to_string(), token, text(file)])
        .arg(proxy.path("ca.pem")));
}

#[test]
#[ignore = "needs nginx, curl and Python with requests: make proxy-test"]
fn a_name_for_each_node_that_clients_are_sent_to() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let ports: Vec<u16> = (0..3).map(|_| free_address().port()).collect();
    let (mut members, one_server) = (recipe("toml"), recipe("nginx"));
    let mut servers = String::new();
    for ((id, node), port) in (1..).zip(&cluster.nodes).zip(&ports) {
        members = members
            .replace(&format!("127.0.0.1:800{id}"), &node.address.to_string())
            .replace(&format!(":844{id}"), &format!(":{port}"));
        let server = one_server.split_once("\nserver {").unwrap().1;
        servers += &format!("server {{{server}")
            .replace("8443", &port.to_string())
            .replace("http://pixseal", &format!("http://{}", node.address));
    }
    for node in &mut cluster.nodes {
        node.members.clone_from(&members);
    }
    cluster.start_all();
    cluster.await_settled();
    let proxy = Proxy::start(&servers);
    ports.iter().for_each(|port| await_proxy(*port));
    let (image, file) = (picture::sized(500_000), proxy.path("cat.png"));
    fs::write(&file, &image).unwrap();
    for number in 0..6 {
        let url = format!(
            "https://{NAME}:{}/images/alice/cat{number}.png",
            ports[number % 3]
        );
        assert_eq!(
            proxy.curl(&ports, &["-L", "-T", text(&file), &url]).0,
            201,
            "{url}"
        );
        let (status, content) = proxy.curl(&ports, &["-L", &url]);
        assert!(status == 200 && content == image, "{url}: {status}");
        let site = format!("https://{NAME}:{}", ports[(number + 1) % 3]);
        assert_eq!(
            proxy
                .curl(
                    &ports,
                    &["-L", "-H", &format!("Origin: {site}"), "-T", text(&file), &url]
                )
                .0,
            200
        );
        assert_eq!(proxy.curl(&ports, &["-L", "-X", "DELETE", &url]).0, 204);
    }
}
