//! `client`: put images into a cluster and get them back, list and remove them, look at the nodes.
//!
//! Arguments in, exit code out; talking to the nodes is `pixseal::client`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: files, standard streams and deadlines"
)]

mod config;
mod get;
mod list;
mod progress;
mod put;
mod rebalance;
mod sources;
mod status;

use std::process::ExitCode;

use getopts::Options;
use pixseal::client::Client;
use pixseal::image_id::ImageId;
use pixseal::standard_output::{print, say};

use self::config::Config;
use self::list::Format;
use self::sources::Sources;

const USAGE: &str = "\
Usage: client put FILE|FOLDER...     upload PNG files (of folders: every *.png in them; what is skipped is named)
       client put - --name NAME      upload standard input
       client get NAME... [-o DIR]   write images into DIR (default: the current folder; - is standard output)
       client ls                     list the images of a user
       client rm NAME...             remove images
       client status                 a table of the nodes, and what is wrong with them
       client rebalance              move every image to the node that it is assigned to, also away from
                                     nodes that are draining; may be stopped and started again

Options:
  -u, --user USER      whose images (default: the login name, or \"user\")
  -r, --recursive      put takes sub-folders too; the name of an image is that of its file alone
      --name NAME      what put calls the image (of one file)
  -j, --jobs N         how many images put uploads at a time (1 to 64; default: 4)
  -c, --cluster FILE   the nodes (default: cluster.toml if it exists, otherwise 127.0.0.1:8001 to 8003);
                       members that it does not name are learnt from those that it names
  -o, --output DIR     where get writes
  -f, --force          get replaces files that are there; otherwise it leaves them and names them as failed
  -l, --long           ls shows date (UTC) and version too
      --json           ls prints an object for each image, one a line
      --token-file FILE
                       a file with your token (default: the environment variable PIXSEAL_TOKEN, if it is set)
      --ca FILE        speak TLS, with nodes whose certificates are of these authorities (PEM)
      --cert FILE --key FILE
                       a certificate for nodes that ask for one
      --timeout SECS   how long to try for one image (default: 60), or to ask all nodes for their status
                       (1.5), or to go on rebalancing while nothing moves (60)
  -h, --help           this text
  -V, --version        the version

Environment: PIXSEAL_USER, PIXSEAL_CLUSTER and PIXSEAL_TOKEN stand for --user, --cluster and a token; options win.

Exit codes: 0 everything done, 1 something failed (each is named on standard error), 2 wrong usage.
Of status: 0 all nodes answer, are ready and agree, 1 not so (table and sentences say why), 2 wrong usage.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments).unwrap_or_else(|why| {
        eprintln!("client: {why}");
        ExitCode::from(2)
    })
}

/// An error is wrong usage.
fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let mut options = Options::new();
    options
        .optopt("u", "user", "", "USER")
        .optopt("c", "cluster", "", "FILE")
        .optopt("o", "output", "", "DIR")
        .optopt("j", "jobs", "", "N")
        .optopt("", "name", "", "NAME")
        .optflag("r", "recursive", "")
        .optflag("f", "force", "")
        .optflag("l", "long", "")
        .optflag("", "json", "");
    options
        .optopt("", "timeout", "", "SECS")
        .optopt("", "token-file", "", "FILE")
        .optopt("", "ca", "", "FILE")
        .optopt("", "cert", "", "FILE")
        .optopt("", "key", "", "FILE")
        .optflag("h", "help", "")
        .optflag("V", "version", "");
    let matches = options
        .parse(arguments)
        .map_err(|e| format!("{e}; see client --help"))?;
    if matches.opt_present("help") {
        return Ok(outcome(print(USAGE)));
    }
    if matches.opt_present("version") {
        return Ok(outcome(say(format_args!("client {}", env!("CARGO_PKG_VERSION")))));
    }
    let config = Config::read(&matches)?;
    let mut client = config.client(&config.members);
    let failed = match matches.free.split_first() {
        Some((command, files)) if command == "put" && !files.is_empty() => {
            let sources = Sources::find(
                files,
                matches.opt_present("recursive"),
                matches.opt_str("name").as_deref(),
            )?;
            put::put(&config, &sources)
        }
        Some((command, names)) if command == "get" && !names.is_empty() => {
            each(names, |name| get::get(&mut client, &config, name))
        }
        Some((command, names)) if command == "rm" && !names.is_empty() => {
            each(names, |name| remove(&mut client, &config, name))
        }
        Some((command, [])) if command == "ls" => each(std::slice::from_ref(&config.user), |_| {
            list::list(&mut client, &config, Format::of(&matches))
        }),
        Some((command, [])) if command == "rebalance" => return Ok(rebalance::rebalance(&config)),
        Some((command, [])) if command == "status" => return Ok(status::status(&config)),
        _ => {
            return Err(
                "say what to do: put, get, ls, rm, status or rebalance; see client --help".to_owned(),
            );
        }
    };
    if failed > 0 {
        eprintln!("client: {failed} failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// An exit code; what is wrong is printed.
fn outcome(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("client: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Does `action` with each item; names each failure and counts them.
fn each(items: &[String], mut action: impl FnMut(&str) -> Result<(), String>) -> usize {
    let failures = items.iter().filter_map(|item| action(item).err());
    failures.inspect(|why| eprintln!("client: {why}")).count()
}

fn remove(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    match client.remove(&image, config.deadline()) {
        Ok(true) => say(format_args!("{image}: removed")),
        Ok(false) => Err(format!("{image}: no node has it")),
        Err(e) => Err(format!("{image}: {e}")),
    }
}
