//! `stress_test`: arguments in, exit code out.

use std::process::ExitCode;
use std::sync::Arc;

use pixseal::standard_output::{print, say};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stress_test::arguments::{Mode, USAGE};
use stress_test::report::compare;
use stress_test::run;
use stress_test::stop_signal::{RunEnd, StopSignal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match act(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("stress_test: {why}");
            ExitCode::from(2)
        }
    }
}

fn act(arguments: &[String]) -> Result<u8, String> {
    match Mode::parse(arguments).map_err(|why| format!("{why}\nsee stress_test --help"))? {
        Mode::Help => print(USAGE)?,
        Mode::Version => say(format_args!("stress_test {}", env!("CARGO_PKG_VERSION")))?,
        Mode::Compare(a, b) => print(compare::files(&a, &b)?)?,
        Mode::Run(config) => {
            let stop = Arc::new(StopSignal::default());
            heed_signals(&stop)?;
            return run::run(*config, &stop);
        }
    }
    Ok(0)
}

/// Ctrl-C and SIGTERM end the uploads; what was done until then is reported.
fn heed_signals(stop: &Arc<StopSignal>) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| format!("cannot wait for signals: {e}"))?;
    let stop = Arc::clone(stop);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                eprintln!("\nstopping: uploads under way are finished, then comes the report");
                stop.raise(RunEnd::Interrupted);
            }
        })
        .map_err(|e| format!("a thread could not be started: {e}"))?;
    Ok(())
}
