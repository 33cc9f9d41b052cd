//! An even selection of uploads, for a drawing.

const POINTS_MAX: usize = 2000;

/// An even selection of points: every n-th, with n doubling when there are too many.
pub(crate) struct Points {
    kept: Vec<(u64, f64, u32)>,
    every: usize,
    seen: usize,
}

impl Default for Points {
    fn default() -> Points {
        Points {
            kept: Vec::new(),
            every: 1,
            seen: 0,
        }
    }
}

impl Points {
    /// Those that were kept.
    pub(crate) fn kept(&self) -> &[(u64, f64, u32)] {
        &self.kept
    }

    /// Offers a point: bytes, milliseconds, node.
    pub(crate) fn add(&mut self, point: (u64, f64, u32)) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(point);
        }
        self.seen += 1;
        if self.kept.len() > POINTS_MAX {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_is_even_and_bounded() {
        let mut points = Points::default();
        for i in 0..100_000 {
            points.add((i, 0.0, 1));
        }
        let kept = points.kept();
        assert!(kept.len() > POINTS_MAX / 2 && kept.len() <= POINTS_MAX);
        let step = kept[1].0 - kept[0].0;
        assert!(kept.windows(2).all(|pair| pair[1].0 - pair[0].0 == step));
    }
}
