//! What is compared with what. The first section is what the others are read against.

use pixseal::client::upload::Audience;
use pixseal::store::Durability;

use super::bare::Way;
use super::images::Set;
use super::rounds::{Lab, Row, Task};
use super::servers::{Build, Contestant, nginx_missing};

/// Connections where nothing else is said.
const CONNECTIONS: usize = 8;
/// The side of an image of 40 kB, of 16 MB.
const SMALL_SIDE: u32 = 100;
const LARGE_SIDE: u32 = 2000;
const SMALL_COUNT: u64 = 2000;
const LARGE_COUNT: u64 = 40;

const BARE: Contestant = Contestant::Bare(Way::Direct);
const PIXSEAL: Contestant = pixseal(3, Durability::Fsync, Audience::All);
const NGINX: Contestant = Contestant::Nginx {
    tls: false,
    by_curl: false,
};

const fn pixseal(nodes: u32, durability: Durability, audience: Audience) -> Contestant {
    Contestant::Pixseal {
        build: Build::This,
        nodes,
        durability,
        audience,
    }
}

/// The same cluster of the other build's servers.
const fn other_build(this: Contestant) -> Contestant {
    match this {
        Contestant::Pixseal {
            nodes,
            durability,
            audience,
            ..
        } => Contestant::Pixseal {
            build: Build::Other,
            nodes,
            durability,
            audience,
        },
        Contestant::Bare(_) | Contestant::Nginx { .. } => this,
    }
}

/// With `--against`: a row of the other build for each of the rows `these`, and the pair of both.
fn add_other_build(lab: &Lab, rows: &mut Vec<Row<'_>>, pairs: &mut Vec<(usize, usize)>, these: &[usize]) {
    if lab.against.is_none() {
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
pub fn mix(lab: &Lab) -> Result<(), String> {
    let set = Set::mix(&lab.images)?;
    let mut who = vec![
        PIXSEAL,
        BARE,
        Contestant::Bare(Way::Cached),
        pixseal(3, Durability::Rename, Audience::All),
    ];
    let mut pairs = vec![(0, 1), (3, 2)];
    if has_nginx() {
        let by_curl = |tls| Contestant::Nginx { tls, by_curl: true };
        who.extend([NGINX, by_curl(false), by_curl(true)]);
        // Bare pipeline against nginx: what sealing and fdatasync cost a simple server. It is not a bound: pixseal can
        // be, and has been, in front of it.
        pairs.extend([(0, 4), (3, 4), (1, 4), (0, 6), (6, 5)]);
    }
    let mut rows: Vec<Row<'_>> = who
        .into_iter()
        .map(|who| Row::upload(who, &set, CONNECTIONS))
        .collect();
    add_other_build(lab, &mut rows, &mut pairs, &[0, 3]);
    let title = format!(
        "mix: {} images, {:.2} GB, {CONNECTIONS} connections",
        set.count(),
        set.bytes() as f64 / 1e9
    );
    lab.compare(&title, &rows, &pairs)
}

/// One connection with large images: how much of the machine a single upload uses.
pub fn single(lab: &Lab) -> Result<(), String> {
    let (mix, large) = (
        Set::mix(&lab.images)?,
        Set::squares(&lab.images, LARGE_SIDE, LARGE_COUNT)?,
    );
    let mut rows = vec![
        Row::upload(PIXSEAL, &large, 1).called("16 MB, 1 connection"),
        Row::upload(BARE, &large, 1).called("16 MB, 1 connection"),
        Row::upload(PIXSEAL, &mix, CONNECTIONS).called("mix, 8 connections"),
    ];
    let mut pairs = vec![(0, 2), (0, 1)];
    add_other_build(lab, &mut rows, &mut pairs, &[0]);
    lab.compare("single: one connection", &rows, &pairs)
}

/// Images of 40 kB: what an upload costs that has hardly any bytes.
pub fn small(lab: &Lab) -> Result<(), String> {
    let set = Set::squares(&lab.images, SMALL_SIDE, SMALL_COUNT)?;
    let mut who = vec![
        PIXSEAL,
        pixseal(3, Durability::Fsync, Audience::Assigned),
        pixseal(3, Durability::Rename, Audience::All),
        pixseal(3, Durability::Rename, Audience::Assigned),
        BARE,
        Contestant::Bare(Way::Cached),
    ];
    let mut pairs = vec![(0, 4), (2, 5), (3, 5)];
    if has_nginx() {
        who.push(NGINX);
        pairs.extend([(2, 6), (3, 6)]);
    }
    let mut rows: Vec<Row<'_>> = who
        .into_iter()
        .map(|who| Row::upload(who, &set, CONNECTIONS))
        .collect();
    add_other_build(lab, &mut rows, &mut pairs, &[0, 3]);
    let title = format!("small: {SMALL_COUNT} images of 40 kB, {CONNECTIONS} connections");
    lab.compare(&title, &rows, &pairs)
}

/// How throughput grows with the size of the images.
pub fn sizes(lab: &Lab) -> Result<(), String> {
    let sets: Result<Vec<Set>, String> = [
        (100, 2000),
        (200, 1500),
        (400, 800),
        (800, 200),
        (1600, 50),
        (4000, 10),
    ]
    .into_iter()
    .map(|(side, count)| Set::squares(&lab.images, side, count))
    .collect();
    let sets = sets?;
    let label = |set: &Set| format!("{:>5.2} MB", set.item(0).bytes as f64 / 1e6);
    let mut rows = Vec::new();
    for set in &sets {
        rows.push(Row::upload(PIXSEAL, set, CONNECTIONS).called(label(set)));
        rows.push(Row::upload(BARE, set, CONNECTIONS).called(label(set)));
    }
    lab.compare(
        "sizes: images of one size, 8 connections",
        &rows,
        &neighbours(&rows),
    )
}

/// How throughput grows with the number of connections.
pub fn connections(lab: &Lab) -> Result<(), String> {
    let set = Set::mix(&lab.images)?;
    let mut rows = Vec::new();
    for count in [1, 2, 4, 8, 16, 32, 64] {
        let label = format!("{count:>2} connections");
        rows.push(Row::upload(PIXSEAL, &set, count).called(&label));
        rows.push(Row::upload(BARE, &set, count).called(&label));
    }
    lab.compare("connections: the mix", &rows, &neighbours(&rows))
}

/// Each row of pixseal with the one of the bare pipeline behind it.
fn neighbours(rows: &[Row<'_>]) -> Vec<(usize, usize)> {
    (0..rows.len()).step_by(2).map(|at| (at, at + 1)).collect()
}

/// What it costs that every image is offered to more nodes, on the same machine.
pub fn nodes(lab: &Lab) -> Result<(), String> {
    let (mix, small) = (
        Set::mix(&lab.images)?,
        Set::squares(&lab.images, SMALL_SIDE, SMALL_COUNT)?,
    );
    let mut rows = Vec::new();
    for (label, set) in [("mix", &mix), ("40 kB", &small)] {
        for nodes in [1, 3, 9] {
            let who = pixseal(nodes, Durability::Fsync, Audience::All);
            rows.push(Row::upload(who, set, CONNECTIONS).called(label));
        }
    }
    lab.compare(
        "nodes: offered to all of them, 8 connections",
        &rows,
        &[(2, 1), (0, 1), (5, 4), (3, 4)],
    )
}

/// Whether the ten-thousandth upload is as fast as the first.
pub fn uploads(lab: &Lab) -> Result<(), String> {
    let sets: Result<Vec<Set>, String> = [200, 2000, 20_000]
        .into_iter()
        .map(|count| Set::squares(&lab.images, SMALL_SIDE, count))
        .collect();
    let sets = sets?;
    let rows: Vec<Row<'_>> = sets
        .iter()
        .map(|set| Row::upload(PIXSEAL, set, CONNECTIONS).called(format!("{:>5} uploads", set.count())))
        .collect();
    lab.compare(
        "uploads: images of 40 kB, 8 connections",
        &rows,
        &[(2, 1), (2, 0)],
    )
}

/// The way back: verified, decrypted, sent.
pub fn download(lab: &Lab) -> Result<(), String> {
    let set = Set::mix(&lab.images)?;
    let row = |label: &str, task| Row {
        task,
        ..Row::upload(PIXSEAL, &set, CONNECTIONS).called(label)
    };
    let rows = [
        row("download, from the disk", Task::Download),
        row("download, from the page cache", Task::DownloadAgain),
        row("upload", Task::Upload),
        Row::upload(BARE, &set, CONNECTIONS).called("upload"),
        row("the disk alone: reading the files of", Task::Read),
        Row {
            connections: 1,
            ..row("download over 1 connection, from the disk", Task::Download)
        },
    ];
    lab.compare(
        "download: the mix, 8 connections where nothing else is said",
        &rows,
        &[(0, 3), (1, 3), (0, 2), (1, 2), (0, 4), (4, 3), (5, 0)],
    )
}
