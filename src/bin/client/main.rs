//! `client`: put images into a cluster and get them back, list and remove them, look at the nodes.
//!
//! Arguments in, exit code out; talking to the nodes is `pixseal::client`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: files, standard streams and deadlines"
)]

mod cluster_state;
mod config;
mod get;
mod list;
mod part;
mod progress;
mod put;
mod rebalance;
mod remove;
mod server_url;
mod sources;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use getopts::Options;
use pixseal::standard_output::{print, say};

use self::config::{Config, NoConfig};
use self::list::Format;
use self::sources::Sources;

const USAGE: &str = "\
Usage: client put FILE|FOLDER...     upload PNG files (of folders: every *.png in them; what is skipped is named)
       client put - --name NAME      upload standard input
       client get NAME...            download images
       client get --all              download all images of a user
       client ls                     list the images of a user
       client rm NAME...             remove images
       client rm --all               remove all images of a user, once you have agreed
       client status                 a table of the nodes, and what is wrong with them
       client rebalance              move every image to the node that it is assigned to, also away from
                                     nodes that are draining; may be stopped and started again

Whose images, on which nodes:
  -u, --user USER      whose images (default: the login name, or \"user\")
  -s, --server URL     a node, which names the others: http://127.0.0.1:8001 (may be repeated: the next one is
                       asked if one does not answer)
  -c, --cluster FILE   the nodes (default: cluster.toml if it exists, otherwise 127.0.0.1:8001 to 8003);
                       members that it does not name are learnt from those that it names

put:
  -r, --recursive      sub-folders too; the name of an image is that of its file alone
      --name NAME      what the image is called (of one file)
  -n, --no-clobber     images that are there stay as they are
      --skip-same      images that are there with the same bytes are not sent again (they are read and compared)
get:
      --all            all images of the user
  -o, --output DIR     where to write (default: the current folder; - is standard output)
  -f, --force          replace files that are there; otherwise they are left, and named as failed
ls:
  -l, --long           date (UTC) and version too
      --json           an object for each image, one a line
rm:
      --all            all images of the user
  -y, --yes            do not ask
status:
  -w, --watch          again every second, until Ctrl-C
      --json           what each node says, as one object

For all of them:
  -j, --jobs N         how many images are sent or received at a time (1 to 64; default: 4)
      --timeout SECS   how long to try for one image (default: 60), or to ask all nodes for their status
                       (1.5), or to go on rebalancing while nothing moves (60)
      --token-file FILE
                       a file with your token (default: the environment variable PIXSEAL_TOKEN, if it is set)
      --ca FILE        speak TLS, with nodes whose certificates are of these authorities (PEM)
      --cert FILE --key FILE
                       a certificate for nodes that ask for one
  -h, --help           this text
  -V, --version        the version

Environment: PIXSEAL_USER, PIXSEAL_SERVER, PIXSEAL_CLUSTER and PIXSEAL_TOKEN stand for --user, --server, --cluster and
a token; options win.

Exit codes: 0 everything done, 1 something failed (each is named on standard error), 2 wrong usage.
Of status: 0 all nodes answer, are ready and agree, 1 not so (table and sentences say why), 2 wrong usage.
";

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(text);
    let done = arguments.collect::<Result<Vec<_>, _>>();
    done.and_then(|arguments| run(&arguments)).unwrap_or_else(|why| {
        eprintln!("client: {why}");
        ExitCode::from(2)
    })
}

/// An argument; an error is one that is not text.
fn text(argument: OsString) -> Result<String, String> {
    argument
        .into_string()
        .map_err(|argument| format!("the argument {argument:?} is not text (UTF-8): rename the file"))
}

/// An error is wrong usage.
fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let options = options();
    let matches = options
        .parse(arguments)
        .map_err(|e| format!("{e}; see client --help"))?;
    if matches.opt_present("help") {
        return Ok(outcome(print(USAGE)));
    }
    if matches.opt_present("version") {
        return Ok(outcome(say(format_args!("client {}", env!("CARGO_PKG_VERSION")))));
    }
    let config = match Config::read(&matches) {
        Ok(config) => config,
        Err(NoConfig::Usage(why)) => return Err(why),
        Err(NoConfig::NoServer(why)) => return Ok(outcome(Err(why))),
    };
    let mut client = config.client(&config.members);
    let (command, arguments) = matches.free.split_first().ok_or_else(nothing_to_do)?;
    let all = matches.opt_present("all");
    let failed = match (command.as_str(), arguments) {
        ("put", files) if !files.is_empty() => {
            let name = matches.opt_str("name");
            let sources = Sources::find(files, matches.opt_present("recursive"), name.as_deref())?;
            put::put(&config, &sources)
        }
        ("get", []) if all => match list::names(&mut client, &config) {
            Ok(names) => get::get_all(&config, &names),
            Err(why) => return Ok(outcome(Err(why))),
        },
        ("get", names) if !names.is_empty() && !all => get::get_all(&config, names),
        ("rm", []) if all => match remove::remove_all(&mut client, &config, matches.opt_present("yes")) {
            Ok(failed) => failed,
            Err(why) => return Ok(outcome(Err(why))),
        },
        ("rm", names) if !names.is_empty() && !all => {
            each(names, |name| remove::remove(&mut client, &config, name))
        }
        ("ls", []) => each(std::slice::from_ref(&config.user), |_| {
            list::list(&mut client, &config, Format::of(&matches))
        }),
        ("rebalance", []) => return Ok(rebalance::rebalance(&config)),
        ("status", []) => return Ok(status::run(&config, &matches)),
        _ => return Err(nothing_to_do()),
    };
    if failed > 0 {
        eprintln!("client: {failed} failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn options() -> Options {
    let mut options = Options::new();
    for (short, long) in [
        ("u", "user"),
        ("c", "cluster"),
        ("o", "output"),
        ("j", "jobs"),
        ("", "name"),
        ("", "timeout"),
        ("", "token-file"),
        ("", "ca"),
        ("", "cert"),
        ("", "key"),
    ] {
        options.optopt(short, long, "", "");
    }
    for (short, long) in [
        ("r", "recursive"),
        ("n", "no-clobber"),
        ("", "skip-same"),
        ("f", "force"),
        ("", "all"),
        ("y", "yes"),
        ("l", "long"),
        ("", "json"),
        ("w", "watch"),
        ("h", "help"),
        ("V", "version"),
    ] {
        options.optflag(short, long, "");
    }
    options.optmulti("s", "server", "", "");
    options
}

fn nothing_to_do() -> String {
    "say what to do: put, get, ls, rm, status or rebalance; see client --help".to_owned()
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
