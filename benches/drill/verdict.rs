//! What a drill has seen, beside what it may be. A drill that exceeds a bound, or does not get to its end, has failed.

#![allow(dead_code, reason = "several drills share this, and each uses a part")]

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

/// The judge of one drill.
pub(crate) struct Verdict {
    /// One sentence for each bound that was exceeded.
    failures: Vec<String>,
}

impl Verdict {
    /// Runs `drill` to its end and says whether it passed. What it holds is dropped in any case.
    pub(crate) fn of(name: &str, drill: impl FnOnce(&mut Verdict)) -> ExitCode {
        let mut verdict = Verdict { failures: Vec::new() };
        // The panic has said what was waited for in vain.
        if catch_unwind(AssertUnwindSafe(|| drill(&mut verdict))).is_err() {
            verdict.fail("it did not get to its end; the reason is above".to_owned());
        }
        if verdict.failures.is_empty() {
            println!("{name}: passed");
            return ExitCode::SUCCESS;
        }
        for failure in &verdict.failures {
            println!("{name}: failed: {failure}");
        }
        ExitCode::FAILURE
    }

    /// Something that may be counted `most` times.
    pub(crate) fn count(&mut self, what: &str, seen: usize, most: usize) {
        self.judge(what, seen, most, seen <= most);
    }

    /// Something that has to happen sooner than `limit`.
    pub(crate) fn time(&mut self, what: &str, seen: Duration, limit: Duration) {
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        let (fits, seen, limit) = (seen < limit, ms(seen), ms(limit));
        self.judge(what, &seen, format!("less than {limit}"), fits);
    }

    /// Something that has to be there at least so often.
    pub(crate) fn at_least(&mut self, what: &str, seen: usize, least: usize) {
        self.judge(what, seen, format!("{least} or more"), seen >= least);
    }

    fn judge(&mut self, what: &str, seen: impl Display, bound: impl Display, fits: bool) {
        println!("    {what}: {seen} (bound: {bound})");
        if !fits {
            self.fail(format!("{what}: {seen}, and the bound is {bound}"));
        }
    }

    /// Something that must not be, in a sentence.
    pub(crate) fn fail(&mut self, sentence: String) {
        self.failures.push(sentence);
    }
}
