//! `client rm`: removes images, those that are named or all of a user.

use std::io::{self, IsTerminal, Write};

use pixseal::client::Client;
use pixseal::image_id::ImageId;
use pixseal::standard_output::say;

use super::config::Config;
use super::list;

/// Removes all images of the user, once a person has agreed, and returns how many failed.
pub(super) fn remove_all(client: &mut Client, config: &Config, is_agreed: bool) -> Result<usize, String> {
    let names = list::names(client, config)?;
    if names.is_empty() {
        say(format_args!("{} has no images", config.user))?;
        return Ok(0);
    }
    if !is_agreed
        && !ask(&format!(
            "Remove all {} images of {}? [y/N] ",
            names.len(),
            config.user
        ))?
    {
        return Err("nothing was removed".to_owned());
    }
    Ok(super::each(&names, |name| remove(client, config, name)))
}

/// Whether a person says yes. Where nobody can be asked, the answer is no.
fn ask(question: &str) -> Result<bool, String> {
    if !io::stdin().is_terminal() {
        return Err(
            "rm --all asks before it removes: say --yes where nobody can answer; nothing was removed"
                .to_owned(),
        );
    }
    eprint!("{question}");
    io::stderr().flush().map_err(|e| e.to_string())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|e| e.to_string())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(super) fn remove(client: &mut Client, config: &Config, name: &str) -> Result<(), String> {
    let image = ImageId::new(&config.user, name).map_err(|e| format!("{name}: {e}"))?;
    match client.remove(&image, config.deadline()) {
        Ok(true) => say(format_args!("{image}: removed")),
        Ok(false) => Err(format!("{image}: no node has it")),
        Err(e) => Err(format!("{image}: {e}")),
    }
}
