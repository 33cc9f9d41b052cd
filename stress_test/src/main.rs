//! To be filled.
use stress_test::paint;
fn main() {
    let plan = paint::Plan {
        seed: 1,
        side_min: 100,
        side_max: 2000,
    };
    let mut f = std::io::BufWriter::new(std::fs::File::create(std::env::args().nth(1).unwrap()).unwrap());
    plan.picture(1701).paint(&mut f).unwrap();
}
