//! `server --drain ID` and `server --undrain ID`.

use getopts::Matches;
use pixseal::store::drain::{mark, unmark};

use super::config::{folder, node_id};

/// Does what `--drain` or `--undrain` asks, and says what happens now; `None` if neither was given.
pub(super) fn drain(matches: &Matches) -> Result<Option<String>, String> {
    let (id, is_draining) = match (matches.opt_str("drain"), matches.opt_str("undrain")) {
        (None, None) => return Ok(None),
        (Some(id), None) => (id, true),
        (None, Some(id)) => (id, false),
        (Some(_), Some(_)) => return Err("--drain and --undrain are not given together".to_owned()),
    };
    if !matches.free.is_empty() {
        return Err("--drain and --undrain start no node: they take the one id after them".to_owned());
    }
    let (id, images) = (node_id(&id)?, folder(matches, "images"));
    let changed = if is_draining {
        mark(&images, id)
    } else {
        unmark(&images, id)
    };
    let already = if changed.map_err(|e| e.to_string())? {
        ""
    } else {
        " already"
    };
    let images = images.display();
    Ok(Some(if is_draining {
        format!(
            "Node {id} is draining{already}: if it runs, it takes no images from now on and goes on answering reads \
             (client status shows it); it stays so over restarts, until: server --undrain {id} --images {images}"
        )
    } else {
        format!("Node {id} takes images again{already}, if it runs (client status shows it)")
    }))
}
