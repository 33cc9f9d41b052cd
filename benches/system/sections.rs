//! What is compared with what. The first section is what the others are read against.

use pixseal::client::upload::Audience;
use pixseal::durable::Durability;

use super::bare::{Pipeline, Sealing, WriteMode};
use super::images::ImageSet;
use super::rounds::{Bench, Row, Task};
use super::servers::{Build, Deployment, Subject, nginx_missing};

/// Connections where nothing else is said.
const CONNECTIONS: usize = 8;
/// The side of an image of 40 kB, of 16 MB.
const SMALL_SIDE: u32 = 100;
const LARGE_SIDE: u32 = 2000;
const SMALL_COUNT: u64 = 2000;
const LARGE_COUNT: u64 = 40;

const BARE: Subject = bare(Sealing::Gcm, WriteMode::Direct);
const BARE_CACHED: Subject = bare(Sealing::Gcm, WriteMode::Cached);
/// What a simple server takes to store files whose names outlive a power loss.
const BARE_NAMED: Subject = bare(Sealing::Gcm, WriteMode::Named);
/// What it takes that seals in a pool, as ours has to: with a wait for the disk, and without.
const BARE_POOL_NAMED: Subject = bare(Sealing::GcmInPool, WriteMode::Named);
const BARE_POOL_RENAMED: Subject = bare(Sealing::GcmInPool, WriteMode::Renamed);
/// What nothing can be faster than that makes images durable.
const BOUND: Subject = bare(Sealing::Nothing, WriteMode::Direct);
const PIXSEAL: Subject = pixseal(3, Durability::Fsync, Audience::All);
const NGINX: Subject = Subject::Nginx {
    tls: false,
    by_curl: false,
};

const fn bare(sealing: Sealing, write: WriteMode) -> Subject {
    Subject::Bare(Pipeline {
        sealing,
        write,
        tls: false,
    })
}

/// A cluster of this build, in the clear and open to all.
pub const fn pixseal(nodes: u32, durability: Durability, audience: Audience) -> Subject {
    Subject::Pixseal(Deployment {
        build: Build::This,
        nodes,
        durability,
        audience,
        tokens: false,
        tls: false,
    })
}

/// The same cluster, and nobody gets in without a token.
const fn with_tokens(this: Subject) -> Subject {
    match this {
        Subject::Pixseal(deployment) => Subject::Pixseal(Deployment {
            tokens: true,
            ..deployment
        }),
        Subject::Bare(_) | Subject::Nginx { .. } => this,
    }
}

/// The same over TLS.
const fn over_tls(this: Subject) -> Subject {
    match this {
        Subject::Bare(pipeline) => Subject::Bare(Pipeline {
            tls: true,
            ..pipeline
        }),
        Subject::Pixseal(deployment) => Subject::Pixseal(Deployment {
            tls: true,
            ..deployment
        }),
        Subject::Nginx { .. } => this,
    }
}

/// The same cluster of the other build's servers.
const fn other_build(this: Subject) -> Subject {
    match this {
        Subject::Pixseal(deployment) => Subject::Pixseal(Deployment {
            build: Build::Other,
            ..deployment
        }),
        Subject::Bare(_) | Subject::Nginx { .. } => this,
    }
}

/// With `--against`: a row of the other build for each of the rows `these`, and the pair of both.
fn add_other_build(bench: &Bench, rows: &mut Vec<Row<'_>>, pairs: &mut Vec<(usize, usize)>, these: &[usize]) {
    if bench.against.is_none() {
        return;
    }
    for &at in these {
        let this = &rows[at];
        let other = Row {
            label: this.label.clone(),
            who: other_build(this.who),
            ..*this
        };
        pairs.push((at, rows.len()));
        rows.push(other);
    }
}

fn has_nginx() -> bool {
    let missing = nginx_missing();
    if let Some(why) = missing {
        eprintln!("{why}");
    }
    missing.is_none()
}

/// The images of the stress test over 8 connections, against everything.
pub fn mix(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::mix(&bench.images)?;
    let mut who = vec![
        PIXSEAL,
        BARE,
        BARE_CACHED,
        pixseal(3, Durability::Rename, Audience::All),
        BOUND,
        bare(Sealing::CtrHmac, WriteMode::Direct),
    ];
    let mut pairs = vec![(0, 4), (0, 1), (0, 5), (4, 5), (1, 4), (3, 2)];
    if has_nginx() {
        let by_curl = |tls| Subject::Nginx { tls, by_curl: true };
        who.extend([NGINX, by_curl(false), by_curl(true)]);
        // Bare pipelines against nginx: what fdatasync, and sealing, cost a simple server. Only the one that does not
        // seal is a bound: pixseal can be, and has been, in front of the other.
        pairs.extend([(0, 6), (4, 6), (3, 6), (1, 6), (0, 8), (4, 8), (8, 7)]);
    }
    let mut rows: Vec<Row<'_>> = who
        .into_iter()
        .map(|who| Row::upload(who, &set, CONNECTIONS))
        .collect();
    add_other_build(bench, &mut rows, &mut pairs, &[0, 3]);
    let title = format!(
        "mix: {} images, {:.2} GB, {CONNECTIONS} connections",
        set.count(),
        set.bytes() as f64 / 1e9
    );
    bench.compare(&title, &rows, &pairs)
}

/// One connection with large images: how much of the machine a single upload uses.
pub fn single(bench: &Bench) -> Result<(), String> {
    let (mix, large) = (
        ImageSet::mix(&bench.images)?,
        ImageSet::squares(&bench.images, LARGE_SIDE, LARGE_COUNT)?,
    );
    let mut rows = vec![
        Row::upload(PIXSEAL, &large, 1).called("16 MB, 1 connection"),
        Row::upload(BARE, &large, 1).called("16 MB, 1 connection"),
        Row::upload(PIXSEAL, &mix, CONNECTIONS).called("mix, 8 connections"),
    ];
    let mut pairs = vec![(0, 2), (0, 1)];
    add_other_build(bench, &mut rows, &mut pairs, &[0]);
    bench.compare("single: one connection", &rows, &pairs)
}

/// Images of 40 kB: what an upload costs that has hardly any bytes.
pub fn small(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::squares(&bench.images, SMALL_SIDE, SMALL_COUNT)?;
    let mut who = vec![
        PIXSEAL,
        pixseal(3, Durability::Fsync, Audience::Assigned),
        pixseal(3, Durability::Rename, Audience::All),
        pixseal(3, Durability::Rename, Audience::Assigned),
        BARE,
        BARE_CACHED,
        BARE_NAMED,
        BARE_POOL_NAMED,
        BARE_POOL_RENAMED,
    ];
    let mut pairs = vec![(0, 4), (1, 4), (6, 4), (7, 4), (0, 7), (1, 7), (2, 8), (3, 8)];
    if has_nginx() {
        who.push(NGINX);
        pairs.extend([(2, 9), (3, 9), (8, 9)]);
    }
    let mut rows: Vec<Row<'_>> = who
        .into_iter()
        .map(|who| Row::upload(who, &set, CONNECTIONS))
        .collect();
    add_other_build(bench, &mut rows, &mut pairs, &[0, 3]);
    let title = format!("small: {SMALL_COUNT} images of 40 kB, {CONNECTIONS} connections");
    bench.compare(&title, &rows, &pairs)
}

/// What TLS costs, here and with nginx.
pub fn tls(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::mix(&bench.images)?;
    let rename = pixseal(3, Durability::Rename, Audience::All);
    let mut who = vec![
        over_tls(PIXSEAL),
        PIXSEAL,
        over_tls(rename),
        BARE,
        over_tls(BARE),
        over_tls(BARE_CACHED),
    ];
    let mut pairs = vec![(0, 1), (0, 4), (2, 5)];
    if has_nginx() {
        let nginx = |by_curl| Subject::Nginx { tls: true, by_curl };
        who.extend([nginx(false), nginx(true), NGINX]);
        pairs.extend([(0, 6), (2, 6), (3, 6), (4, 6), (5, 6), (0, 7), (6, 8)]);
    }
    let rows: Vec<Row<'_>> = who
        .into_iter()
        .map(|who| Row::upload(who, &set, CONNECTIONS))
        .collect();
    bench.compare("TLS: the mix, over 8 connections", &rows, &pairs)
}

/// What tokens cost.
pub fn tokens(bench: &Bench) -> Result<(), String> {
    let (mix, small) = (
        ImageSet::mix(&bench.images)?,
        ImageSet::squares(&bench.images, SMALL_SIDE, SMALL_COUNT)?,
    );
    let renamed = pixseal(3, Durability::Rename, Audience::All);
    let rows: Vec<Row<'_>> = [(PIXSEAL, &mix, "mix"), (renamed, &small, "40 kB")]
        .into_iter()
        .flat_map(|(who, set, label)| {
            [with_tokens(who), who].map(|who| Row::upload(who, set, CONNECTIONS).called(label))
        })
        .collect();
    bench.compare("tokens: what they cost", &rows, &[(0, 1), (2, 3)])
}

/// How throughput grows with the size of the images.
pub fn sizes(bench: &Bench) -> Result<(), String> {
    let sets: Result<Vec<ImageSet>, String> = [
        (100, 2000),
        (200, 1500),
        (400, 800),
        (800, 200),
        (1600, 50),
        (4000, 10),
    ]
    .into_iter()
    .map(|(side, count)| ImageSet::squares(&bench.images, side, count))
    .collect();
    let sets = sets?;
    let label = |set: &ImageSet| format!("{:>5.2} MB", set.item(0).bytes as f64 / 1e6);
    let mut rows = Vec::new();
    for set in &sets {
        rows.push(Row::upload(PIXSEAL, set, CONNECTIONS).called(label(set)));
        rows.push(Row::upload(BARE, set, CONNECTIONS).called(label(set)));
    }
    bench.compare(
        "sizes: images of one size, 8 connections",
        &rows,
        &neighbours(&rows),
    )
}

/// How throughput grows with the number of connections.
pub fn connections(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::mix(&bench.images)?;
    let mut rows = Vec::new();
    for count in [1, 2, 4, 8, 16, 32, 64] {
        let label = format!("{count:>2} connections");
        rows.push(Row::upload(PIXSEAL, &set, count).called(&label));
        rows.push(Row::upload(BARE, &set, count).called(&label));
    }
    bench.compare("connections: the mix", &rows, &neighbours(&rows))
}

/// Each row of pixseal with the one of the bare pipeline behind it.
fn neighbours(rows: &[Row<'_>]) -> Vec<(usize, usize)> {
    (0..rows.len()).step_by(2).map(|at| (at, at + 1)).collect()
}

/// What it costs that every image is offered to more nodes, on the same machine.
pub fn nodes(bench: &Bench) -> Result<(), String> {
    let (mix, small) = (
        ImageSet::mix(&bench.images)?,
        ImageSet::squares(&bench.images, SMALL_SIDE, SMALL_COUNT)?,
    );
    let mut rows = Vec::new();
    for (label, set) in [("mix", &mix), ("40 kB", &small)] {
        for nodes in [1, 3, 9] {
            let who = pixseal(nodes, Durability::Fsync, Audience::All);
            rows.push(Row::upload(who, set, CONNECTIONS).called(label));
        }
    }
    bench.compare(
        "nodes: offered to all of them, 8 connections",
        &rows,
        &[(2, 1), (0, 1), (5, 4), (3, 4)],
    )
}

/// Whether the ten-thousandth upload is as fast as the first.
pub fn uploads(bench: &Bench) -> Result<(), String> {
    let sets: Result<Vec<ImageSet>, String> = [200, 2000, 20_000]
        .into_iter()
        .map(|count| ImageSet::squares(&bench.images, SMALL_SIDE, count))
        .collect();
    let sets = sets?;
    let rows: Vec<Row<'_>> = sets
        .iter()
        .map(|set| Row::upload(PIXSEAL, set, CONNECTIONS).called(format!("{:>5} uploads", set.count())))
        .collect();
    bench.compare(
        "uploads: images of 40 kB, 8 connections",
        &rows,
        &[(2, 1), (2, 0)],
    )
}

/// The way back: verified, decrypted, sent.
pub fn download(bench: &Bench) -> Result<(), String> {
    let set = ImageSet::mix(&bench.images)?;
    let row = |label: &str, task| Row {
        task,
        ..Row::upload(PIXSEAL, &set, CONNECTIONS).called(label)
    };
    let rows = [
        row("download, from the disk", Task::Download),
        row("download, from the page cache", Task::DownloadAgain),
        row("upload", Task::Upload),
        Row::upload(BOUND, &set, CONNECTIONS).called("upload"),
        row("the disk alone: reading the files of", Task::Read),
        Row {
            connections: 1,
            ..row("download over 1 connection, from the disk", Task::Download)
        },
        Row {
            connections: 1,
            ..row(
                "download over 1 connection, from the page cache",
                Task::DownloadAgain,
            )
        },
    ];
    bench.compare(
        "download: the mix, 8 connections where nothing else is said",
        &rows,
        &[(0, 3), (1, 3), (0, 2), (1, 2), (0, 4), (4, 3), (5, 0), (6, 1)],
    )
}
