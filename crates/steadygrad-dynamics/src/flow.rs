use std::fmt;

use crate::{Block, DynamicsError, TangentSystem};

/// An autonomous ordinary differential equation `x' = f(x)` with its derivative.
///
/// [`Flow::from_functions`] makes one from two functions on arrays. Implement the trait for a field
/// whose number of variables is known only at run time.
pub trait VectorField {
    /// The number of state variables.
    fn dim(&self) -> usize;

    /// Writes `f(x)` into `out`.
    fn velocity(&self, state: &[f64], out: &mut [f64]);

    /// Writes `f'(x) v` into `out`, for one tangent vector `v`.
    fn tangent(&self, state: &[f64], vector: &[f64], out: &mut [f64]);
}

/// A [`VectorField`] of `N` variables from two functions: see [`Flow::from_functions`].
#[derive(Clone)]
pub struct FunctionField<const N: usize, V, J> {
    velocity: V,
    jacobian: J,
}

impl<const N: usize, V, J> fmt::Debug for FunctionField<N, V, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionField")
            .field("dim", &N)
            .finish_non_exhaustive()
    }
}

impl<const N: usize, V, J> VectorField for FunctionField<N, V, J>
where
    V: Fn(&[f64; N]) -> [f64; N],
    J: Fn(&[f64; N]) -> [[f64; N]; N],
{
    fn dim(&self) -> usize {
        N
    }

    fn velocity(&self, state: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&(self.velocity)(&array(state)));
    }

    fn tangent(&self, state: &[f64], vector: &[f64], out: &mut [f64]) {
        let jacobian = (self.jacobian)(&array(state));
        for (out, row) in out.iter_mut().zip(&jacobian) {
            *out = row.iter().zip(vector).map(|(j, v)| j * v).sum();
        }
    }
}

fn array<const N: usize>(values: &[f64]) -> [f64; N] {
    std::array::from_fn(|i| values[i])
}

/// A flow in steps of `time_step`: the classical Runge-Kutta method of fourth order, for the state
/// and for the tangent vectors together.
///
/// The step is fixed on purpose. An adaptive step would follow the error of the tangent vectors,
/// which grow without bound. And the vectors must be multiplied by the derivative of the very step
/// that the state took. The error per unit of time is of the order of `time_step^4`: halve the step
/// to see whether a digit holds.
///
/// The trajectory and its derivative cost four evaluations each, per step and vector.
#[derive(Debug, Clone)]
pub struct Flow<F> {
    field: F,
    state: Vec<f64>,
    time_step: f64,
    done: usize,
    slopes: [Vec<f64>; 4],
    /// The states at which the second to the fourth slope are taken.
    at: [Vec<f64>; 3],
    scratch: Scratch,
}

/// One tangent vector on its way through the four stages.
#[derive(Debug, Clone)]
struct Scratch {
    slope: Vec<f64>,
    moved: Vec<f64>,
    sum: Vec<f64>,
}

impl<const N: usize, V, J> Flow<FunctionField<N, V, J>>
where
    V: Fn(&[f64; N]) -> [f64; N],
    J: Fn(&[f64; N]) -> [[f64; N]; N],
{
    /// Starts at `state`, from `velocity`, which is `f(x)`, and `jacobian`, which is `f'(x)` row by
    /// row. The crate's first page has an example.
    ///
    /// # Errors
    /// As [`Flow::new`].
    pub fn from_functions(
        state: [f64; N],
        time_step: f64,
        velocity: V,
        jacobian: J,
    ) -> Result<Self, DynamicsError> {
        let field = FunctionField { velocity, jacobian };
        Self::new(field, state.to_vec(), time_step)
    }
}

impl<F: VectorField> Flow<F> {
    /// Starts at `state`.
    ///
    /// # Errors
    /// [`DynamicsError::Setting`] when `time_step` is not above 0 and finite;
    /// [`DynamicsError::NonFinite`] for a state that is not finite; [`DynamicsError::ZeroWidth`]
    /// for a field without variables.
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
            slopes: std::array::from_fn(|_| vec![0.0; dim]),
            at: std::array::from_fn(|_| vec![0.0; dim]),
            scratch: Scratch {
                slope: vec![0.0; dim],
                moved: vec![0.0; dim],
                sum: vec![0.0; dim],
            },
        })
    }

    /// The state that the flow has reached.
    pub fn state(&self) -> &[f64] {
        &self.state
    }

    /// The state at which the slope of this stage is taken.
    fn state_of(&self, stage: usize) -> &[f64] {
        match stage {
            0 => &self.state,
            _ => &self.at[stage - 1],
        }
    }

    /// Takes the slopes of the state at all four stages.
    fn take_slopes(&mut self) {
        for stage in 0..4 {
            let mut slope = std::mem::take(&mut self.slopes[stage]);
            self.field.velocity(self.state_of(stage), &mut slope);
            if let (Some(at), Some(ahead)) = (self.at.get_mut(stage), AHEAD.get(stage)) {
                for ((at, x), k) in at.iter_mut().zip(&self.state).zip(&slope) {
                    *at = x + self.time_step * ahead * k;
                }
            }
            self.slopes[stage] = slope;
        }
    }

    /// Multiplies one tangent vector by the derivative of the step.
    fn carry(&self, column: &mut [f64], scratch: &mut Scratch) {
        let h = self.time_step;
        let Scratch { slope, moved, sum } = scratch;
        moved.copy_from_slice(column);
        sum.copy_from_slice(column);
        for (stage, weight) in WEIGHTS.into_iter().enumerate() {
            self.field.tangent(self.state_of(stage), moved, slope);
            for (sum, k) in sum.iter_mut().zip(slope.iter()) {
                *sum += h * weight * k;
            }
            if let Some(ahead) = AHEAD.get(stage) {
                for ((moved, x), k) in moved.iter_mut().zip(column.iter()).zip(slope.iter()) {
                    *moved = x + h * ahead * k;
                }
            }
        }
        column.copy_from_slice(sum);
    }
}

/// The weights of the four stages.
const WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];

/// How far along the step the second to the fourth slope are taken.
const AHEAD: [f64; 3] = [0.5, 0.5, 1.0];

impl<F: VectorField> TangentSystem for Flow<F> {
    fn dim(&self) -> usize {
        self.state.len()
    }

    fn time_step(&self) -> f64 {
        self.time_step
    }

    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        self.take_slopes();
        let mut scratch = self.scratch.take();
        for column in block.columns_mut() {
            self.carry(column, &mut scratch);
        }
        self.scratch = scratch;
        for (slope, weight) in self.slopes.iter().zip(WEIGHTS) {
            for (x, k) in self.state.iter_mut().zip(slope) {
                *x += self.time_step * weight * k;
            }
        }
        self.done += 1;
        check(&self.state, self.done)
    }
}

impl Scratch {
    fn take(&mut self) -> Self {
        Self {
            slope: std::mem::take(&mut self.slope),
            moved: std::mem::take(&mut self.moved),
            sum: std::mem::take(&mut self.sum),
        }
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
