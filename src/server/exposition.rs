//! The text that Prometheus reads: families of samples, in the text format 0.0.4.
//!
//! Keeps to the conventions that `promtool check metrics` looks at: each family has one HELP and one TYPE, counters end in
//! `_total`, units are seconds and bytes. Knows nothing of what is measured.

use std::fmt::{Display, Write as _};

/// Every name begins so, but for those that all programs share.
const PREFIX: &str = "pixseal_";
const OF_ALL_PROGRAMS: &str = "process_";

/// What a family is, and how its values behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyType {
    /// Only grows, until the node is started anew. Its name ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

/// A text that grows by families.
#[derive(Default)]
pub(super) struct Exposition(String);

/// A family that is being written.
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: String,
}

impl Exposition {
    /// Begins a family. `help` is a sentence without a line break.
    pub(super) fn family(&mut self, kind: FamilyType, name: &str, help: &str) -> Family<'_> {
        let prefix = if name.starts_with(OF_ALL_PROGRAMS) {
            ""
        } else {
            PREFIX
        };
        let name = format!("{prefix}{name}");
        let kind = match kind {
            FamilyType::Counter => "counter",
            FamilyType::Gauge => "gauge",
            FamilyType::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// A family of one sample.
    pub(super) fn single(&mut self, kind: FamilyType, name: &str, help: &str, value: impl Display) {
        self.family(kind, name, help).sample("", value);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// `labels` as in `action="put"`, with values that need no escaping; or none.
    pub(super) fn sample(&mut self, labels: &str, value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram: how many values lay in each bucket, the last of which has no bound, and the sum of all values.
    pub(super) fn histogram(&mut self, labels: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut so_far = 0;
        let bounds = bounds.iter().copied().map(Some).chain([None]);
        for (bound, count) in bounds.zip(counts) {
            so_far += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.line("_bucket", &format!("{labels},le=\"{bound}\""), so_far);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, so_far);
    }

    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = &self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name}{suffix} {value}"),
            labels => writeln!(self.text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_up_from_bucket_to_bucket() {
        let mut exposition = Exposition::default();
        exposition
            .family(FamilyType::Histogram, "x_seconds", "How long x took.")
            .histogram("action=\"put\"", &[0.5, 1.0], &[3, 0, 2], 7.25);
        assert_eq!(
            exposition.finish(),
            "# HELP pixseal_x_seconds How long x took.\n\
             # TYPE pixseal_x_seconds histogram\n\
             pixseal_x_seconds_bucket{action=\"put\",le=\"0.5\"} 3\n\
             pixseal_x_seconds_bucket{action=\"put\",le=\"1\"} 3\n\
             pixseal_x_seconds_bucket{action=\"put\",le=\"+Inf\"} 5\n\
             pixseal_x_seconds_sum{action=\"put\"} 7.25\n\
             pixseal_x_seconds_count{action=\"put\"} 5\n"
        );
    }
}
