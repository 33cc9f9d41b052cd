//! Numbers with the unit that fits.

/// `11.2 GB`, `40.3 kB`: three digits are enough for people.
pub(crate) fn bytes(count: f64) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if count >= size {
            return format!("{:.1} {unit}", count / size);
        }
    }
    format!("{count:.0} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0.0, 999.0, 1000.0, 40_300.0, 11.2e9].map(bytes),
            ["0 B", "999 B", "1.0 kB", "40.3 kB", "11.2 GB"]
        );
    }
}
