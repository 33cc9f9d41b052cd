//! A line for each upload, as it ends: a CSV file for programs, a log for people.

#![allow(clippy::disallowed_types, reason = "an edge: it writes files")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use crate::config::RunConfig;
use crate::image_source::image_name;
use crate::output_file::create;
use crate::paint::BAND_NAMES;
use crate::sample::{Sample, UploadOutcome};

const CSV_HEAD: &str = "number,name,band,bytes,outcome,node,term,start_s,late_ms,paint_ms,offer_ms,transfer_ms,\
receipt_ms,total_ms,rounds,setbacks,detail";

pub(crate) struct UploadLog {
    csv: Option<BufWriter<File>>,
    log: Option<BufWriter<File>>,
}

impl UploadLog {
    /// Creates the files; the CSV gets its header.
    pub(crate) fn open(config: &RunConfig) -> io::Result<UploadLog> {
        let open = |path: &Option<std::path::PathBuf>| path.as_deref().map(create).transpose();
        let (mut csv, log) = (open(&config.csv)?, open(&config.log)?);
        if let Some(csv) = &mut csv {
            writeln!(csv, "{CSV_HEAD}")?;
        }
        Ok(UploadLog { csv, log })
    }

    pub(crate) fn add(&mut self, sample: &Sample) -> io::Result<()> {
        if let Some(csv) = &mut self.csv {
            csv_line(csv, sample)?;
        }
        if let Some(log) = &mut self.log {
            log_line(log, sample)?;
        }
        Ok(())
    }

    /// Writes what is still in memory.
    pub(crate) fn close(self) -> io::Result<()> {
        for mut file in [self.csv, self.log].into_iter().flatten() {
            file.flush()?;
        }
        Ok(())
    }
}

fn csv_line(out: &mut impl Write, sample: &Sample) -> io::Result<()> {
    let name = image_name(sample.number);
    let (outcome, node, term, detail) = match &sample.outcome {
        UploadOutcome::Stored {
            node,
            term,
            wrong_receipt,
            ..
        } => (
            "stored",
            node.to_string(),
            term.to_string(),
            wrong_receipt.clone().unwrap_or_default(),
        ),
        UploadOutcome::Failed { cause, text } => {
            ("failed", String::new(), String::new(), format!("{cause}: {text}"))
        }
    };
    write!(
        out,
        "{},{name},{},{},{outcome},{node},{term},",
        sample.number, BAND_NAMES[sample.band], sample.bytes
    )?;
    write!(out, "{:.6},", sample.intended.as_secs_f64())?;
    for duration in [
        sample.late,
        sample.paint,
        sample.offer,
        sample.transfer,
        sample.receipt,
        sample.total,
    ] {
        write!(out, "{:.3},", ms(duration))?;
    }
    writeln!(
        out,
        "{},{},{}",
        sample.rounds,
        sample.setbacks.len(),
        quoted(&detail)
    )
}

fn log_line(out: &mut impl Write, sample: &Sample) -> io::Result<()> {
    let at = (sample.intended + sample.total).as_secs_f64();
    let name = image_name(sample.number);
    match &sample.outcome {
        UploadOutcome::Stored { node, .. } => write!(
            out,
            "{at:>10.3} s  {name}: {} bytes on node {node} in {:.1} ms (offer {:.1}, transfer {:.1}, receipt {:.1})",
            sample.bytes,
            ms(sample.total),
            ms(sample.offer),
            ms(sample.transfer),
            ms(sample.receipt)
        ),
        UploadOutcome::Failed { text, .. } => {
            write!(
                out,
                "{at:>10.3} s  {name}: FAILED after {:.1} ms: {text}",
                ms(sample.total)
            )
        }
    }?;
    for (node, cause) in &sample.setbacks {
        match node {
            Some(node) => write!(out, "; node {node}: {cause}")?,
            None => write!(out, "; {cause}")?,
        }
    }
    writeln!(out)
}

/// RFC 4180: quotes around what holds a comma, a quote or a line break.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixseal::client::error::ErrorKind;
    use pixseal::roster::NodeId;

    fn sample(outcome: UploadOutcome) -> Sample {
        Sample {
            number: 17,
            band: 1,
            bytes: 4000,
            intended: Duration::from_millis(1500),
            late: Duration::ZERO,
            paint: Duration::ZERO,
            total: Duration::from_millis(30),
            offer: Duration::from_millis(1),
            transfer: Duration::from_millis(20),
            receipt: Duration::from_millis(9),
            rounds: 2,
            setbacks: vec![(Some(NodeId(3)), ErrorKind::Lost)],
            also_accepted: vec![],
            answered_early: false,
            body_bytes_sent: 4000,
            outcome,
        }
    }

    fn line(write: impl Fn(&mut Vec<u8>, &Sample) -> io::Result<()>, outcome: UploadOutcome) -> String {
        let mut out = Vec::new();
        write(&mut out, &sample(outcome)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn stored() -> UploadOutcome {
        UploadOutcome::Stored {
            node: NodeId(2),
            copy: None,
            term: 4,
            views: vec![],
            claimed: false,
            wrong_receipt: None,
        }
    }

    #[test]
    fn a_csv_line_has_as_many_fields_as_its_head() {
        let text = line(csv_line, stored());
        assert_eq!(
            text,
            "17,stress_image_17.png,Medium,4000,stored,2,4,1.500000,0.000,0.000,1.000,20.000,9.000,30.000,2,1,\n"
        );
        assert_eq!(text.split(',').count(), CSV_HEAD.split(',').count());
        let failed = UploadOutcome::Failed {
            cause: ErrorKind::Busy,
            text: "said \"no\", twice".to_owned(),
        };
        assert!(line(csv_line, failed).ends_with("\"busy (503, 429 or 408): said \"\"no\"\", twice\"\n"));
    }

    #[test]
    fn a_log_line_tells_what_happened() {
        let text = line(log_line, stored());
        assert!(
            text.contains("stress_image_17.png: 4000 bytes on node 2 in 30.0 ms"),
            "{text}"
        );
        assert!(text.ends_with("; node 3: connection lost\n"), "{text}");
    }
}
