//! Values of options: a number within its bounds, a rate, one of a few words; or a sentence that says what was expected.

use std::ops::RangeInclusive;

use getopts::Matches;

use crate::paint::{SIDE_MAX, SIDE_MIN};

pub(crate) fn number(
    matches: &Matches,
    name: &str,
    default: u64,
    allowed: RangeInclusive<u64>,
) -> Result<u64, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| {
            format!(
                "--{name} {text}: a whole number from {} to {} is needed",
                allowed.start(),
                allowed.end()
            )
        })
}

pub(crate) fn small(matches: &Matches, name: &str, default: u32, max: u64) -> Result<u32, String> {
    let value = number(matches, name, u64::from(default), 1..=max)?;
    Ok(u32::try_from(value).expect("the largest allowed value is small"))
}

pub(crate) fn side(matches: &Matches, name: &str, default: u32) -> Result<u32, String> {
    let value = number(
        matches,
        name,
        u64::from(default),
        u64::from(SIDE_MIN)..=u64::from(SIDE_MAX),
    )?;
    Ok(u32::try_from(value).expect("SIDE_MAX is a u32"))
}

pub(crate) fn rate(matches: &Matches) -> Result<Option<f64>, String> {
    let Some(text) = matches.opt_str("rate") else {
        return Ok(None);
    };
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(Some(rate)),
        _ => Err(format!(
            "--rate {text}: uploads per second are needed, at least 0.001"
        )),
    }
}

pub(crate) fn choice<T: Copy>(
    matches: &Matches,
    name: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, choice)) => Ok(Some(*choice)),
        None => Err(format!("--{name} {text}: only {} are known", names.join(", "))),
    }
}

/// What a choice is called on the command line.
pub(crate) fn name_of<T: Copy + PartialEq>(choices: &[(&'static str, T)], choice: T) -> String {
    let found = choices.iter().find(|(_, known)| *known == choice);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}
