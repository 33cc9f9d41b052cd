//! `client ls`: the images of a user, page after page as the nodes send them, so that memory does not grow with their number.

use std::collections::BTreeSet;

use getopts::Matches;
use pixseal::client::Client;
use pixseal::report::Item;
use pixseal::standard_output::print;

use super::config::Config;

const SECONDS_A_DAY: u64 = 86_400;

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

pub(super) fn list(client: &mut Client, config: &Config, format: Format) -> Result<(), String> {
    let mut missing = BTreeSet::new();
    let mut after = None;
    loop {
        let page = client
            .page(&config.user, after.as_deref(), config.deadline())
            .map_err(|e| e.to_string())?;
        print(
            page.images
                .iter()
                .map(|item| format.line(item))
                .collect::<String>(),
        )?;
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

/// Seconds since 1970 as `YYYY-MM-DD HH:MM`, in UTC. The calendar is Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / SECONDS_A_DAY + 719_468, seconds % SECONDS_A_DAY);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        second / 3600,
        second / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_798_761_599, "2026-12-31 23:59"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
