use super::{Block, DynamicsError, TangentSystem};

/// An autonomous ordinary differential equation `x' = f(x)` with its derivative.
pub trait VectorField {
    /// Number of state variables.
    fn dim(&self) -> usize;

    /// Writes `f(x)` into `out`.
    fn velocity(&self, state: &[f64], out: &mut [f64]);

    /// Writes `f'(x) v` into `out`, for one tangent vector `v`.
    fn tangent(&self, state: &[f64], vector: &[f64], out: &mut [f64]);
}

/// A flow in steps of `time_step`, by the classical Runge-Kutta method of fourth order for the
/// state and for the tangent vectors together.
///
/// The step is fixed on purpose. Tangent vectors grow without bound, so a step size chosen from an
/// error estimate of both would be ruled by the tangents; and the vectors must be multiplied by
/// the derivative of the very step that the state took. The error per unit of time is of the order
/// of `time_step^4`: halve the step to see whether a digit stands.
#[derive(Debug, Clone)]
pub struct Flow<F> {
    field: F,
    state: Vec<f64>,
    time_step: f64,
    done: usize,
    stages: [Vec<f64>; 4],
    at: [Vec<f64>; 3],
    scratch: [Vec<f64>; 3],
}

impl<F: VectorField> Flow<F> {
    /// Starts at `state`.
    ///
    /// # Errors
    /// [`DynamicsError::Setting`] when `time_step` is not above 0 and finite;
    /// [`DynamicsError::NonFinite`] or [`DynamicsError::ZeroWidth`] when the state is not usable.
    ///
    /// # Panics
    /// When `state` is not as long as the field's dimension.
    pub fn new(field: F, state: Vec<f64>, time_step: f64) -> Result<Self, DynamicsError> {
        let dim = field.dim();
        assert_eq!(state.len(), dim, "the state must have {dim} values");
        if !(time_step > 0.0 && time_step.is_finite()) {
            return Err(DynamicsError::Setting {
                field: "time_step",
                value: time_step,
                allowed: "above 0 and finite",
            });
        }
        if dim == 0 {
            return Err(DynamicsError::ZeroWidth { step: 0 });
        }
        check(&state, 0)?;
        Ok(Self {
            field,
            state,
            time_step,
            done: 0,
            stages: std::array::from_fn(|_| vec![0.0; dim]),
            at: std::array::from_fn(|_| vec![0.0; dim]),
            scratch: std::array::from_fn(|_| vec![0.0; dim]),
        })
    }

    /// Where the flow is.
    pub fn state(&self) -> &[f64] {
        &self.state
    }
}

/// The weights of the four stages, and how far along the step the next one looks.
const WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];
const AHEAD: [f64; 3] = [0.5, 0.5, 1.0];

impl<F: VectorField> TangentSystem for Flow<F> {
    fn dim(&self) -> usize {
        self.state.len()
    }

    fn time_step(&self) -> f64 {
        self.time_step
    }

    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let h = self.time_step;
        #[allow(clippy::needless_range_loop)] // stages refer to each other by number
        for stage in 0..4 {
            let from = if stage == 0 {
                &self.state
            } else {
                &self.at[stage - 1]
            };
            self.field.velocity(from, &mut self.stages[stage]);
            if stage < 3 {
                let slope = &self.stages[stage];
                for ((at, x), k) in self.at[stage].iter_mut().zip(&self.state).zip(slope) {
                    *at = x + h * AHEAD[stage] * k;
                }
            }
        }
        let [slope, moved, sum] = &mut self.scratch;
        for column in block.columns_mut() {
            moved.copy_from_slice(column);
            sum.copy_from_slice(column);
            for stage in 0..4 {
                let from = if stage == 0 {
                    &self.state
                } else {
                    &self.at[stage - 1]
                };
                self.field.tangent(from, moved, slope);
                for (sum, k) in sum.iter_mut().zip(slope.iter()) {
                    *sum += h * WEIGHTS[stage] * k;
                }
                if stage < 3 {
                    for ((moved, x), k) in moved.iter_mut().zip(column.iter()).zip(slope.iter()) {
                        *moved = x + h * AHEAD[stage] * k;
                    }
                }
            }
            column.copy_from_slice(sum);
        }
        for (stage, weight) in self.stages.iter().zip(WEIGHTS) {
            for (x, k) in self.state.iter_mut().zip(stage) {
                *x += h * weight * k;
            }
        }
        self.done += 1;
        check(&self.state, self.done)
    }
}

fn check(state: &[f64], step: usize) -> Result<(), DynamicsError> {
    if state.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(DynamicsError::NonFinite {
            what: "state",
            step,
        })
    }
}
