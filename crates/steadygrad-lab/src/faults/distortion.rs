use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A faulty data pipeline's changes of one batch.
///
/// A subject calls [`Distortion::inputs`] on the values that go into the model, and
/// [`Distortion::classes`] or [`Distortion::targets`] on the values that the loss compares with.
/// The data set itself is not changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distortion {
    inputs: Vec<InputChange>,
    labels: Vec<LabelChange>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum InputChange {
    Affine { scale: f32, shift: f32 },
    Replace { value: f32, pick: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum LabelChange {
    Rotate { by: usize },
    Noise { share: f64, pick: u64 },
}

impl Distortion {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.inputs.is_empty() && self.labels.is_empty()
    }

    /// Whether it changes any input.
    pub fn changes_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Changes the inputs of a whole batch. An empty batch stays empty.
    pub fn inputs(&self, values: &mut [f32]) {
        for change in &self.inputs {
            match *change {
                InputChange::Affine { scale, shift } => values
                    .iter_mut()
                    .for_each(|value| *value = scale * *value + shift),
                InputChange::Replace { value, pick } => {
                    let place = (pick % values.len().max(1) as u64) as usize;
                    if let Some(hit) = values.get_mut(place) {
                        *hit = value;
                    }
                }
            }
        }
    }

    /// Changes the classes of a whole batch, each below `count`.
    pub fn classes(&self, classes: &mut [usize], count: usize) {
        for change in &self.labels {
            match *change {
                LabelChange::Rotate { by } => classes
                    .iter_mut()
                    .for_each(|class| *class = (*class + by % count.max(1)) % count.max(1)),
                LabelChange::Noise { share, pick } => {
                    let mut rng = ChaCha8Rng::seed_from_u64(pick);
                    for class in classes.iter_mut() {
                        // Both are drawn for each row: a larger share hits the same rows and more.
                        let (chance, drawn) = (rng.random::<f64>(), rng.random::<u64>());
                        if chance < share {
                            *class = (drawn % count.max(1) as u64) as usize;
                        }
                    }
                }
            }
        }
    }

    /// Changes the standardised targets of a regression. A rotated label is the target mirrored at
    /// the mean; label noise is the target of another row of the batch.
    pub fn targets(&self, targets: &mut [f32]) {
        for change in &self.labels {
            match *change {
                LabelChange::Rotate { .. } => {
                    targets.iter_mut().for_each(|target| *target = -*target)
                }
                LabelChange::Noise { share, pick } => {
                    let mut rng = ChaCha8Rng::seed_from_u64(pick);
                    let clean = targets.to_vec();
                    for target in targets.iter_mut() {
                        let (chance, drawn) = (rng.random::<f64>(), rng.random::<u64>());
                        if chance < share {
                            *target = clean[(drawn % clean.len() as u64) as usize];
                        }
                    }
                }
            }
        }
    }

    pub(super) fn scale_and_shift(&mut self, scale: f32, shift: f32) {
        self.inputs.push(InputChange::Affine { scale, shift });
    }

    /// Replaces one value: the same one for batches of the same size.
    pub(super) fn replace_one(&mut self, value: f32, pick: u64) {
        self.inputs.push(InputChange::Replace { value, pick });
    }

    pub(super) fn rotate_labels(&mut self, by: usize) {
        self.labels.push(LabelChange::Rotate { by });
    }

    pub(super) fn relabel(&mut self, share: f64, pick: u64) {
        self.labels.push(LabelChange::Noise { share, pick });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_nothing_and_an_empty_batch_is_no_trouble() {
        let mut values = [1.0, f32::NAN, -0.0];
        let before = values.map(f32::to_bits);
        Distortion::default().inputs(&mut values);
        assert_eq!(values.map(f32::to_bits), before);

        let mut all = Distortion::default();
        assert!(all.is_none() && !all.changes_inputs());
        all.scale_and_shift(2.0, 1.0);
        all.replace_one(f32::NAN, 7);
        all.rotate_labels(1);
        all.relabel(1.0, 7);
        assert!(!all.is_none() && all.changes_inputs());
        all.inputs(&mut []);
        all.classes(&mut [], 10);
        all.classes(&mut [0], 0);
        all.targets(&mut []);
    }

    #[test]
    fn inputs_are_changed_in_order() {
        let mut both = Distortion::default();
        both.scale_and_shift(2.0, 1.0);
        both.replace_one(f32::INFINITY, 4);
        let mut values = [0.0, 1.0, -1.0];
        both.inputs(&mut values);
        assert_eq!(values, [1.0, f32::INFINITY, -1.0]);
    }

    #[test]
    fn labels_rotate() {
        let mut rotated = Distortion::default();
        rotated.rotate_labels(13);
        let mut classes = [0, 8, 9];
        rotated.classes(&mut classes, 10);
        assert_eq!(classes, [3, 1, 2]);
        let mut targets = [1.5, -0.5, 0.0];
        rotated.targets(&mut targets);
        assert_eq!(targets, [-1.5, 0.5, 0.0]);
    }

    #[test]
    fn noise_hits_its_share_and_a_larger_share_the_same_rows_and_more() {
        const ROWS: usize = 10_000;
        let hit = |share: f64| -> Vec<usize> {
            let mut noisy = Distortion::default();
            noisy.relabel(share, 3);
            let mut classes = vec![0; ROWS];
            noisy.classes(&mut classes, 4);
            assert!(classes.iter().all(|class| *class < 4));
            (0..ROWS).filter(|row| classes[*row] != 0).collect()
        };
        // Of those drawn anew, a quarter keeps its class.
        for share in [0.2, 0.6, 1.0] {
            let found = hit(share).len() as f64 / ROWS as f64;
            assert!((found - 0.75 * share).abs() < 0.02, "{share}: {found}");
        }
        assert!(hit(0.0).is_empty());
        let many = hit(0.6);
        assert!(hit(0.2).iter().all(|row| many.contains(row)));

        let mut noisy = Distortion::default();
        noisy.relabel(1.0, 3);
        let clean: Vec<f32> = (0..50u8).map(f32::from).collect();
        let mut targets = clean.clone();
        noisy.targets(&mut targets);
        assert_ne!(targets, clean);
        assert!(targets.iter().all(|target| clean.contains(target)));
    }
}
