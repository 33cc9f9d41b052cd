//! How fast images are painted, without a disk: `cargo bench -p stress_test --bench paint`.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use std::time::Instant;

use stress_test::paint::Plan;

const IMAGES: u64 = 600;
const PLAN: Plan = Plan {
    seed: 1,
    side_min: 100,
    side_max: 2000,
};

fn main() {
    for threads in [1, 2, 4] {
        let start = Instant::now();
        let bytes: u64 = std::thread::scope(|scope| {
            let painters: Vec<_> = (0..threads)
                .map(|t| scope.spawn(move || paint_every(threads, t)))
                .collect();
            painters
                .into_iter()
                .map(|painter| painter.join().expect("painting does not fail"))
                .sum()
        });
        let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e9;
        println!("paint: {threads} threads, {IMAGES} images of 100 to 2000 px: {rate:.2} GB/s");
    }
}

/// Every image whose number is `rest` modulo `threads`, into one buffer that is used again.
fn paint_every(threads: u64, rest: u64) -> u64 {
    let mut buffer = Vec::new();
    let mut bytes = 0;
    for number in (1..=IMAGES).filter(|number| number % threads == rest) {
        buffer.clear();
        PLAN.picture(number)
            .paint(&mut buffer)
            .expect("writing to memory does not fail");
        bytes += buffer.len() as u64;
    }
    bytes
}
