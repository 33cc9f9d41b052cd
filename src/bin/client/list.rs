//! `client ls`: the images of a user, page after page as the nodes send them, so that memory does not grow with their number.

use std::collections::BTreeSet;

use getopts::Matches;
use pixseal::client::Client;
use pixseal::report::Item;
use pixseal::standard_output::offer;
use pixseal::timestamp::Timestamp;

use super::config::Config;

/// Of a time as RFC 3339 has it, up to its minutes.
const MINUTES_CHARS: usize = "2026-12-01T00:00".len();

/// What a line of the list shows.
#[derive(Clone, Copy)]
pub(super) enum Format {
    /// Size, node and name.
    Short,
    /// The same with date and version.
    Long,
    /// A JSON object, as nodes send it.
    Json,
}

impl Format {
    pub(super) fn of(matches: &Matches) -> Format {
        match (matches.opt_present("json"), matches.opt_present("long")) {
            (true, _) => Format::Json,
            (false, true) => Format::Long,
            (false, false) => Format::Short,
        }
    }

    fn line(self, item: &Item) -> String {
        let node = item.node.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let (bytes, name) = (item.bytes, &item.name);
        match self {
            Format::Short => format!("{bytes:>12}  node {node:<4} {name}\n"),
            Format::Long => {
                let version = item.version.map_or_else(|| "-".to_owned(), |v| v.to_string());
                let date = date(item.modified);
                format!("{bytes:>12}  {date}  node {node:<4} {version:<20} {name}\n")
            }
            Format::Json => serde_json::to_string(item).expect("an item is JSON") + "\n",
        }
    }
}

/// The names of all images of the user. An error if nodes could not be asked: all would not be all then.
pub(super) fn names(client: &mut Client, config: &Config) -> Result<Vec<String>, String> {
    let list = client
        .list(&config.user, config.deadline())
        .map_err(|e| e.to_string())?;
    match list.missing.first() {
        None => Ok(list.images.into_iter().map(|item| item.name).collect()),
        Some(missing) => Err(format!(
            "Node {missing} could not be asked, so the list is not complete"
        )),
    }
}

pub(super) fn list(client: &mut Client, config: &Config, format: Format) -> Result<(), String> {
    let mut missing = BTreeSet::new();
    let mut after = None;
    loop {
        let page = client
            .page(&config.user, after.as_deref(), config.deadline())
            .map_err(|e| e.to_string())?;
        let lines = page.images.iter().map(|item| format.line(item));
        if !offer(lines.collect::<String>())? {
            return Ok(());
        }
        missing.extend(page.missing);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let missing: Vec<String> = missing.iter().map(|id| format!("Node {id}")).collect();
            Err(format!(
                "the list is not complete, these could not be asked: {}",
                missing.join(", ")
            ))
        }
    }
}

/// Seconds since 1970 as `YYYY-MM-DD HH:MM`, in UTC.
fn date(seconds: u64) -> String {
    let moment = Timestamp(seconds * 1000).to_string();
    moment[..MINUTES_CHARS].replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_end_with_the_minute() {
        assert_eq!(date(951_782_399), "2000-02-28 23:59");
    }
}
