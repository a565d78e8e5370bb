use std::fmt;

use burn::tensor::{Tensor, TensorData};
use steadygrad::dynamics::{Block, DynamicsError, TangentSystem};

/// A state `[rows, ...]` of any rank, with each row flattened.
struct FlatState {
    /// `[rows, width]`.
    rows: Tensor<2>,
    /// The shape before flattening.
    shape: Vec<usize>,
}

impl FlatState {
    fn new<const D: usize>(state: Tensor<D>) -> Self {
        let shape = state.dims().to_vec();
        let flat = [shape[0], shape[1..].iter().product()];
        let rows = if flat.contains(&0) {
            // In a reshape, 0 means "keep this dimension". The caller refuses an empty state.
            Tensor::zeros(flat, &state.device())
        } else {
            state.reshape(flat)
        };
        Self { rows, shape }
    }
}

/// One stage on flattened states. The second argument is the shape that one row of the input has.
type FlatStage<'a> = Box<dyn Fn(Tensor<2>, &[usize]) -> FlatState + 'a>;

/// A model as a list of stages: the layers through depth, or one recurrent step repeated.
///
/// Each stage maps a tensor `[batch, ...]` of rank `I` to one of rank `O`; ranks and widths may
/// change from stage to stage. The Jacobian of a stage is that of the flattened output by the
/// flattened input. It is read by backward passes, so any differentiable Burn code can be a stage.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::activation::tanh;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use steadygrad::dynamics::{JacobianProduct, ProductSettings};
/// use steadygrad_burn::Stages;
///
/// let device = Device::flex().autodiff();
/// let layers: Vec<Linear> = (0..5).map(|_| LinearConfig::new(8, 8).init(&device)).collect();
/// let mut stages = Stages::new();
/// for (l, layer) in layers.iter().enumerate() {
///     stages = stages.stage(format!("hidden.{l}"), move |x| tanh(layer.forward(x)));
/// }
/// let input = Tensor::<2>::random([1, 8], Distribution::Default, &device);
/// let mut backward = stages.linearize(input)?;
/// let product = JacobianProduct::measure(&mut backward, ProductSettings::default())?;
/// assert_eq!(product.log_singular_values.len(), 8);
/// # Ok::<(), steadygrad::dynamics::DynamicsError>(())
/// ```
pub struct Stages<'a, const I: usize = 2, const O: usize = 2> {
    names: Vec<String>,
    stages: Vec<FlatStage<'a>>,
}

impl<const D: usize> Default for Stages<'_, D, D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const D: usize> Stages<'_, D, D> {
    /// Starts an empty list.
    pub fn new() -> Self {
        Self {
            names: Vec::new(),
            stages: Vec::new(),
        }
    }
}

impl<'a, const I: usize, const O: usize> Stages<'a, I, O> {
    /// Adds a stage at the end.
    ///
    /// The first axis is the batch. Every row of the output may depend on the same row of the input
    /// only: no batch statistics. A tensor that the stage captures must be a parameter or detached,
    /// because Burn drops a computation after its backward pass.
    #[must_use]
    pub fn stage<const N: usize>(
        self,
        name: impl Into<String>,
        stage: impl Fn(Tensor<O>) -> Tensor<N> + 'a,
    ) -> Stages<'a, I, N> {
        let Self {
            mut names,
            mut stages,
        } = self;
        names.push(name.into());
        stages.push(Box::new(move |rows, shape| {
            let mut dims = [rows.dims()[0]; O];
            dims[1..].copy_from_slice(shape);
            FlatState::new(stage(rows.reshape(dims)))
        }));
        Stages { names, stages }
    }

    /// The stages' names, in forward order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Runs one sample `[1, ...]` forward and keeps the states that the backward pass needs.
    ///
    /// # Errors
    /// Shapes in errors are flattened to `[rows, width]`. Stages count from 1; 0 is the input.
    /// - [`DynamicsError::StateShape`] for an input, or a stage's output, that is not one row.
    /// - [`DynamicsError::NonFinite`] naming the stage whose output holds NaN or infinity.
    /// - [`DynamicsError::ZeroWidth`] for a state without units.
    pub fn linearize(&self, input: Tensor<I>) -> Result<BackwardProduct<'_, 'a>, DynamicsError> {
        let mut state = FlatState::new(input.detach());
        let mut states = Vec::with_capacity(self.stages.len());
        check(&state.rows, 0)?;
        for (index, stage) in self.stages.iter().enumerate() {
            let mut next = stage(state.rows.clone(), &state.shape[1..]);
            next.rows = next.rows.detach();
            check(&next.rows, index + 1)?;
            states.push(state);
            state = next;
        }
        Ok(BackwardProduct {
            stages: &self.stages,
            states,
            width: state.rows.dims()[1],
        })
    }
}

impl<const I: usize, const O: usize> fmt::Debug for Stages<'_, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stages").field(&self.names).finish()
    }
}

/// One row, at least one unit, and finite values only.
fn check(state: &Tensor<2>, step: usize) -> Result<(), DynamicsError> {
    let found @ [_, width] = state.dims();
    check_shape(step, found, [1, width])?;
    if width == 0 {
        return Err(DynamicsError::ZeroWidth { step });
    }
    let data = state.clone().inner().into_data();
    if data.iter::<f64>().all(f64::is_finite) {
        return Ok(());
    }
    let what = "state";
    Err(DynamicsError::NonFinite { what, step })
}

fn check_shape(step: usize, found: [usize; 2], expected: [usize; 2]) -> Result<(), DynamicsError> {
    if found == expected {
        return Ok(());
    }
    Err(DynamicsError::StateShape {
        step,
        found,
        expected,
    })
}

/// The backward pass through [`Stages`] at one sample, from the last stage to the first.
///
/// Each step multiplies by the transposed Jacobian of one stage. The product has the singular
/// values of the forward product.
///
/// The sample is repeated once for each tangent vector, so one backward pass gives all columns.
/// Tangents pass through the number type of each stage's output. A growth rate has about six digits
/// with f32, all digits with f64, three with f16 and two with bf16.
pub struct BackwardProduct<'s, 'a> {
    stages: &'s [FlatStage<'a>],
    /// Inputs of the stages that are still to go through.
    states: Vec<FlatState>,
    /// Width of the current state.
    width: usize,
}

impl BackwardProduct<'_, '_> {
    /// The width of the narrowest state on the rest of the way: the most tangent vectors that it
    /// can carry.
    pub fn width(&self) -> usize {
        self.states
            .iter()
            .map(|state| state.rows.dims()[1])
            .fold(self.width, usize::min)
    }

    /// Multiplies the columns of `block` by the transposed Jacobian of stage number `index`,
    /// counted from 1, at the state before it.
    fn multiply(
        &self,
        block: &mut Block,
        state: &FlatState,
        index: usize,
    ) -> Result<(), DynamicsError> {
        let vectors = block.cols();
        let [_, width] = state.rows.dims();
        let device = state.rows.device();
        let input = state.rows.clone().repeat_dim(0, vectors);
        let input = input.detach().require_grad();
        let output = (self.stages[index - 1])(input.clone(), &state.shape[1..]).rows;
        check_shape(index, output.dims(), [vectors, self.width])?;
        // The block's columns, one after the other, are the rows of `[vectors, width]`.
        let weights = Tensor::<2>::from_data(
            TensorData::new(block.values().to_vec(), [vectors, self.width]),
            (&device, output.dtype()),
        );
        // Zero. A stage that ignores its input would otherwise have an output without a gradient.
        // The cast serves stages that change the number type.
        let nothing = (input.clone() * 0.0).cast(output.dtype()).sum();
        let scalar = (output * weights).sum() + nothing;
        let gradients = scalar.backward();
        block.resize_rows(width);
        // Without a gradient the output does not depend on the input: zeros.
        block.values_mut().fill(0.0);
        if let Some(gradient) = input.grad(&gradients) {
            let data = gradient.into_data();
            for (to, from) in block.values_mut().iter_mut().zip(data.iter::<f64>()) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for BackwardProduct<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackwardProduct")
            .field("remaining", &self.states.len())
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl TangentSystem for BackwardProduct<'_, '_> {
    fn dim(&self) -> usize {
        self.width
    }

    fn remaining(&self) -> Option<usize> {
        Some(self.states.len())
    }

    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let index = self.states.len();
        let Some(state) = self.states.pop() else {
            return Err(DynamicsError::TooFewSteps {
                available: self.stages.len(),
                transient: 0,
                needed: self.stages.len() + 1,
            });
        };
        let vectors = block.cols();
        check_shape(index, [vectors, block.rows()], [vectors, self.width])?;
        if vectors > 0 {
            self.multiply(block, &state, index)?;
        }
        self.width = state.rows.dims()[1];
        Ok(())
    }
}
