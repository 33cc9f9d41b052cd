//! A few faults in words; the others are only counted.

const EXAMPLES_MAX: usize = 10;

/// Adds an example while there are few.
pub(crate) fn keep(examples: &mut Vec<String>, text: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(text());
    }
}
