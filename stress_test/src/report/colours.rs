//! Green, red and yellow lines on a terminal.

/// Colours for a terminal, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Plain text.
    Off,
    /// ANSI colours.
    On,
}

impl Colours {
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Colours::Off => text.to_owned(),
            Colours::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

pub(crate) fn mark_of(right: bool) -> &'static str {
    if right { "✓" } else { "✗" }
}
