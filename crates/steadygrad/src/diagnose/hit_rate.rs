/// How often a rule's headlines were right on runs whose truth is known: the zoo's tuning runs.
///
/// A headline is right when it names the fault that was put into the run, and its steps. In a run
/// without such a fault it is right when the run did not stay healthy. The `zoo` example of
/// `steadygrad-lab` prints the counts, and the same for the held-out runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HitRate {
    /// Headlines that were right.
    pub right: u32,
    /// All headlines of the rule.
    pub headlines: u32,
}

impl HitRate {
    pub(super) const fn new(right: u32, headlines: u32) -> Self {
        Self { right, headlines }
    }

    /// The probability that the rule's next headline is right: `(right + 1) / (headlines + 2)`,
    /// Laplace's rule of succession. It is never 0 and never 1.
    pub fn confidence(self) -> f64 {
        f64::from(self.right + 1) / f64::from(self.headlines + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_makes_a_headline_certain() {
        for (right, headlines, confidence) in
            [(0, 0, 0.5), (23, 23, 24.0 / 25.0), (7, 8, 0.8), (0, 8, 0.1)]
        {
            assert_eq!(HitRate::new(right, headlines).confidence(), confidence);
        }
    }
}
