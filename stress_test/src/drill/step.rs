//! What `--drill` asks for: `kill:leader@50%`, `kill:2@50%`, `pause:1@30%..60%`, `restart:each`.

use std::fmt;

use pixseal::roster::NodeId;

/// One thing that is done to a node in the middle of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DrillStep {
    pub(crate) action: DrillAction,
    pub(crate) target: DrillTarget,
    /// When: the share of uploads that have ended, 0 to 1.
    pub(crate) from: f64,
    /// When it is undone; only for a pause.
    pub(crate) until: f64,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrillAction {
    /// SIGKILL; started again before images are read back.
    Kill,
    /// SIGSTOP, later SIGCONT.
    Pause,
    /// SIGTERM, then started again at once.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrillTarget {
    /// The leader at that moment.
    Leader,
    Node(NodeId),
}

/// Parses one `--drill`. `each` becomes a step for every node, spread over the run.
pub(crate) fn parse(text: &str, nodes: u32) -> Result<Vec<DrillStep>, String> {
    let wrong = |why: &str| {
        format!("--drill {text}: {why}; for example kill:leader@50%, pause:1@30%..60%, restart:each")
    };
    let (action, rest) = text
        .split_once(':')
        .ok_or_else(|| wrong("say what to do with whom"))?;
    let action = match action {
        "kill" => DrillAction::Kill,
        "pause" => DrillAction::Pause,
        "restart" => DrillAction::Restart,
        _ => return Err(wrong("only kill, pause and restart are known")),
    };
    let (target, moment) = rest
        .split_once('@')
        .map_or((rest, None), |(target, moment)| (target, Some(moment)));
    let (from, until) = match moment {
        Some(moment) => moments(moment).ok_or_else(|| wrong("a moment is a percentage, a pause has two"))?,
        None => (0.5, 0.5),
    };
    if target == "each" {
        let slot = |k: u32| f64::from(k) / f64::from(nodes + 1);
        let step = |id: u32| DrillStep {
            action,
            target: DrillTarget::Node(NodeId(id)),
            from: slot(id),
            until: slot(id) + 0.5 / f64::from(nodes + 1),
        };
        return Ok((1..=nodes).map(step).collect());
    }
    let target = match target {
        "leader" => DrillTarget::Leader,
        id => match id.parse() {
            Ok(id) if (1..=nodes).contains(&id) => DrillTarget::Node(NodeId(id)),
            _ => return Err(wrong("the target is leader, each, or the id of a spawned node")),
        },
    };
    if action == DrillAction::Pause && until <= from {
        return Err(wrong("a pause ends after it begins"));
    }
    Ok(vec![DrillStep {
        action,
        target,
        from,
        until,
    }])
}

fn moments(text: &str) -> Option<(f64, f64)> {
    let share = |text: &str| {
        let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
    };
    match text.split_once("..") {
        Some((from, until)) => Some((share(from)?, share(until)?)),
        None => Some((share(text)?, share(text)?)),
    }
}

impl fmt::Display for DrillStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            DrillAction::Kill => "kill",
            DrillAction::Pause => "pause",
            DrillAction::Restart => "restart",
        };
        match self.target {
            DrillTarget::Leader => write!(f, "{action}:leader@{:.0}%", self.from * 100.0)?,
            DrillTarget::Node(id) => write!(f, "{action}:{id}@{:.0}%", self.from * 100.0)?,
        }
        if self.action == DrillAction::Pause {
            write!(f, "..{:.0}%", self.until * 100.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_written_alike() {
        for text in [
            "kill:leader@50%",
            "kill:2@0%",
            "pause:1@30%..60%",
            "restart:3@100%",
        ] {
            assert_eq!(parse(text, 3).unwrap()[0].to_string(), text);
        }
        let each: Vec<String> = parse("restart:each", 3)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(each, ["restart:1@25%", "restart:2@50%", "restart:3@75%"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "kill",
            "stab:1@5%",
            "kill:4@50%",
            "kill:x@50%",
            "kill:1@50",
            "kill:1@101%",
            "pause:1@60%..30%",
            "pause:1@30%",
        ] {
            assert!(parse(text, 3).is_err(), "{text}");
        }
    }
}
