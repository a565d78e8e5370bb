use std::hint::black_box;
use std::time::Instant;

/// Values of one pass: they fit into the first cache, so that memory has no part in the time.
const LEN: usize = 2048;
const PASSES: usize = 50;
const REPEATS: usize = 9;

/// How many times longer this machine takes to multiply subnormal f32 values than normal ones:
/// the ratio of two medians, measured side by side.
pub(crate) fn slowdown() -> f64 {
    // Halving and doubling by turns keeps a value in its range.
    let (mut normal, mut subnormal) = ([1.5f32; LEN], [f32::MIN_POSITIVE / 64.0; LEN]);
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        fast.push(seconds(&mut normal));
        slow.push(seconds(&mut subnormal));
    }
    median(slow) / median(fast)
}

fn seconds(values: &mut [f32; LEN]) -> f64 {
    let start = Instant::now();
    for pass in 0..PASSES {
        let factor = black_box(if pass % 2 == 0 { 0.75 } else { 1.0 / 0.75 });
        values.iter_mut().for_each(|value| *value *= factor);
        black_box(&*values);
    }
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_stay_in_their_range() {
        let mut values = [f32::MIN_POSITIVE / 64.0; LEN];
        seconds(&mut values);
        assert!(values.iter().all(|value| value.is_subnormal()));
        let found = slowdown();
        assert!(found.is_finite() && found > 0.1, "{found}");
    }
}
