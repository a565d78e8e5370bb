use std::f64::consts::PI;

/// A learning rate schedule: a linear warm-up, then a decay. The default is constant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Steps of the warm-up; 0 for none.
    pub warmup_steps: u64,
    /// The decay after the warm-up.
    pub decay: Decay,
}

/// The decay of a learning rate after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decay {
    /// No decay.
    #[default]
    Constant,
    /// Linear, to zero at the end of the run.
    Linear,
    /// Half a cosine, to zero at the end of the run (Loshchilov and Hutter, 2017, without
    /// restarts).
    Cosine,
}

impl Decay {
    /// All names in a study.
    pub const NAMES: [&str; 3] = ["constant", "linear", "cosine"];

    /// Its name in a study.
    pub fn name(self) -> &'static str {
        match self {
            Decay::Constant => "constant",
            Decay::Linear => "linear",
            Decay::Cosine => "cosine",
        }
    }

    /// The decay of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Decay::Constant, Decay::Linear, Decay::Cosine]
            .into_iter()
            .find(|decay| decay.name() == name)
    }
}

impl Schedule {
    /// Factor of the learning rate in `step`, counted from 0, of a run of `steps`.
    ///
    /// It is in `0.0..=1.0`, and exactly 1 without warm-up and decay. With a decay it is 0 from
    /// `steps` on.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return (step as f64 + 1.0) / self.warmup_steps as f64;
        }
        let length = steps.saturating_sub(self.warmup_steps);
        let done = if step >= steps {
            1.0
        } else {
            (step - self.warmup_steps) as f64 / length as f64
        };
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (PI * done).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_then_falls_to_zero() {
        let schedule = |warmup_steps, decay| Schedule {
            warmup_steps,
            decay,
        };
        for (schedule, expected) in [
            (Schedule::default(), [1.0, 1.0, 1.0, 1.0, 1.0]),
            (schedule(2, Decay::Constant), [0.5, 1.0, 1.0, 1.0, 1.0]),
            (schedule(0, Decay::Linear), [1.0, 0.75, 0.5, 0.25, 0.0]),
            (schedule(2, Decay::Linear), [0.5, 1.0, 1.0, 0.5, 0.0]),
            (
                schedule(0, Decay::Cosine),
                [1.0, 0.853_553, 0.5, 0.146_447, 0.0],
            ),
        ] {
            for (step, expected) in expected.into_iter().enumerate() {
                let factor = schedule.factor(step as u64, 4);
                assert!((factor - expected).abs() < 1e-6, "{schedule:?} at {step}");
            }
        }
        assert_eq!(Schedule::default().factor(7, 4), 1.0);
    }

    #[test]
    fn no_length_of_run_and_warm_up_gives_a_factor_out_of_range() {
        for steps in [0, 1, 2, u64::MAX] {
            for warmup_steps in [0, 1, 2, u64::MAX] {
                for name in Decay::NAMES {
                    let decay = Decay::from_name(name).unwrap();
                    assert_eq!(decay.name(), name);
                    let schedule = Schedule {
                        warmup_steps,
                        decay,
                    };
                    for step in [0, 1, 2, 3, u64::MAX] {
                        let factor = schedule.factor(step, steps);
                        assert!((0.0..=1.0).contains(&factor), "{schedule:?}: {factor}");
                    }
                }
            }
        }
        assert_eq!(Decay::from_name("step"), None);
    }
}
