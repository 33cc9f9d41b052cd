//! What people use: curl, Python's requests, openssl s_client, our own programs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::TlsCluster;
use crate::support::certificate::Authority;
use crate::support::mount::say_skipped;
use crate::support::picture;

/// Whether a program can be started here.
fn has(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn curl_uploads_and_follows_redirects_with_a_token_in_both_versions() {
    if !has("curl", &["--version"]) {
        return say_skipped("curl_uploads_and_follows_redirects…", "curl");
    }
    let mut cluster = TlsCluster::prepare(3, &[]);
    let token = cluster.nodes.add_token("alice", "read,write,delete,list,admin");
    cluster.nodes.show_token(&token);
    cluster.nodes.start_all();
    cluster.nodes.await_settled();
    let file = cluster.nodes.root().join("cat.png");
    fs::write(&file, picture::sized(500_000)).unwrap();
    let back = cluster.nodes.root().join("back.png");
    for version in ["1.2", "1.3"] {
        let only = [
            format!("--tlsv{version}"),
            "--tls-max".to_owned(),
            version.to_owned(),
        ];
        let curl = || {
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "-L",
                "--max-time",
                "30",
                "-f",
                "-w",
                "%{http_version} %{http_code}\n",
            ]);
            curl.args(&only).arg("--cacert").arg(&cluster.authority.file);
            curl.arg("-H").arg(format!("Authorization: Bearer {token}"));
            curl
        };
        for node in &cluster.nodes.nodes {
            let url = format!("https://{}/images/alice/cat{version}.png", node.address);
            let said = run(curl().arg("-T").arg(&file).arg(&url));
            assert!(
                said.ends_with("1.1 201\n") || said.ends_with("1.1 200\n"),
                "{said}"
            );
            run(curl().arg("-o").arg(&back).arg(&url));
            assert!(fs::read(&back).unwrap() == fs::read(&file).unwrap());
        }
    }
    // Without the authority, curl does not talk to it.
    let url = format!("https://{}/healthz", cluster.nodes.node(1).address);
    let output = Command::new("curl").args(["-sS", &url]).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn openssl_speaks_to_it_and_knows_it() {
    if !has("openssl", &["version"]) {
        return say_skipped("openssl_speaks_to_it…", "openssl");
    }
    let cluster = TlsCluster::start(1, &[]);
    let address = cluster.nodes.node(1).address.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &address,
            "-verify_return_error",
            "-brief",
            version,
        ]);
        command.args(["-ign_eof", "-CAfile", name(&cluster.authority.file)]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut client = command.spawn().unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.take().unwrap().write_all(request).unwrap();
        let said = text(&client.wait_with_output().unwrap());
        assert!(
            said.contains("HTTP/1.1 200 OK") && said.contains("Verification: OK"),
            "{said}"
        );
        // It was told that nothing more comes, and did not just lose the connection.
        assert!(!said.contains("unexpected eof"), "{said}");
    }
    let mut old = Command::new("openssl");
    old.args([
        "s_client",
        "-connect",
        &address,
        "-tls1_1",
        "-cipher",
        "ALL:@SECLEVEL=0",
    ]);
    let output = old.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
}

#[test]
fn requests_uploads_and_reads_over_one_session() {
    if !has("python3", &["-c", "import requests"]) {
        return say_skipped("requests_uploads_and_reads…", "Python's requests");
    }
    let cluster = TlsCluster::start(3, &["--relay"]);
    let script = "
import sys, requests
ca, *nodes = sys.argv[1:]
image = open(ca.replace('ca.pem', 'cat.png'), 'rb').read()
def pieces():
    for at in range(0, len(image), 50000):
        yield image[at:at + 50000]
with requests.Session() as session:
    session.verify, session.trust_env = ca, False
    for number, node in enumerate(nodes * 3):
        url = f'https://{node}/images/alice/{number}.png'
        assert session.put(url, data=image).status_code == 201
        assert session.put(url, data=pieces()).status_code == 200
        assert session.get(url).content == image
";
    fs::write(cluster.nodes.root().join("cat.png"), picture::sized(300_000)).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", script, name(&cluster.authority.file)]);
    python.args(cluster.nodes.nodes.iter().map(|node| node.address.to_string()));
    run(&mut python);
}

#[test]
fn our_client_does_not_try_again_where_nobody_is_believed() {
    let cluster = TlsCluster::start(1, &[]);
    let root = cluster.nodes.root();
    let other = Authority::new(root, "other");
    let file = root.join("cat.png");
    fs::write(&file, picture::dot()).unwrap();
    for (words, reason) in [
        (
            vec!["put", name(&file), "--ca", name(&other.file)],
            "of no authority that --ca names",
        ),
        (vec!["put", name(&file)], "This node speaks TLS"),
    ] {
        let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
        client.args(words).args(["--user", "alice", "--timeout", "3600"]);
        client.arg("--cluster").arg(cluster.nodes.node(1).cluster_file());
        let output = client.env_remove("PIXSEAL_TOKEN").output().unwrap();
        assert!(
            !output.status.success() && text(&output).contains(reason),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn our_programs_need_nothing_but_the_authority() {
    let cluster = TlsCluster::start(3, &[]);
    let root = cluster.nodes.root();
    let file = root.join("cat.png");
    fs::write(&file, picture::sized(300_000)).unwrap();
    let client = |words: &[&str]| {
        let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
        client
            .args(words)
            .args(["--user", "alice", "--ca", name(&cluster.authority.file)]);
        client.arg("--cluster").arg(cluster.nodes.node(1).cluster_file());
        client.env_remove("PIXSEAL_TOKEN").current_dir(root);
        run(&mut client)
    };
    client(&["put", name(&file)]);
    assert!(client(&["ls"]).contains("cat.png"));
    fs::remove_file(&file).unwrap();
    client(&["get", "cat.png"]);
    assert_eq!(fs::read(&file).unwrap(), picture::sized(300_000));
    assert!(client(&["status"]).contains("All 3 nodes are ready"));
    client(&["rebalance"]);
    client(&["rm", "cat.png"]);
}
