use burn::tensor::{Tensor, TensorData};
use steadygrad::dynamics::{Block, DynamicsError, TangentSystem};

type StageFn<'a> = Box<dyn Fn(Tensor<2>) -> Tensor<2> + 'a>;

/// A model as a list of stages, each `[batch, in] -> [batch, out]`: the layers through depth, or
/// one recurrent step again and again. Its Jacobians are read by backward passes, so any
/// differentiable Burn code can be a stage.
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
#[derive(Default)]
pub struct Stages<'a> {
    names: Vec<String>,
    stages: Vec<StageFn<'a>>,
}

impl<'a> Stages<'a> {
    /// No stages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage. Every row of its output may depend on the same row of its input only: no
    /// batch statistics. A tensor that it captures must be a parameter or detached: Burn forgets a
    /// computation once it has been differentiated.
    #[must_use]
    pub fn stage(
        mut self,
        name: impl Into<String>,
        stage: impl Fn(Tensor<2>) -> Tensor<2> + 'a,
    ) -> Self {
        self.names.push(name.into());
        self.stages.push(Box::new(stage));
        self
    }

    /// The stages' names, in forward order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Runs one sample `[1, in]` forward and keeps the states that the backward pass needs.
    ///
    /// # Errors
    /// [`DynamicsError::StateShape`] for an input of more or fewer rows than one, and for a stage,
    /// counted from 1, that makes more or fewer; [`DynamicsError::NonFinite`] naming the stage whose
    /// output is not finite; [`DynamicsError::ZeroWidth`] for a state without units.
    pub fn linearize(&self, input: Tensor<2>) -> Result<BackwardProduct<'_, 'a>, DynamicsError> {
        let mut state = input.detach();
        let mut states = Vec::with_capacity(self.stages.len());
        check(&state, 0)?;
        for (index, stage) in self.stages.iter().enumerate() {
            let next = stage(state.clone()).detach();
            check(&next, index + 1)?;
            states.push(state);
            state = next;
        }
        Ok(BackwardProduct {
            stages: self,
            states,
            output: state.dims()[1],
        })
    }
}

fn check(state: &Tensor<2>, step: usize) -> Result<(), DynamicsError> {
    let found @ [_, width] = state.dims();
    shape(step, found, [1, width])?;
    if width == 0 {
        return Err(DynamicsError::ZeroWidth { step });
    }
    let finite = state
        .clone()
        .inner()
        .into_data()
        .iter::<f64>()
        .all(f64::is_finite);
    if finite {
        Ok(())
    } else {
        Err(DynamicsError::NonFinite {
            what: "state",
            step,
        })
    }
}

fn shape(step: usize, found: [usize; 2], expected: [usize; 2]) -> Result<(), DynamicsError> {
    if found == expected {
        return Ok(());
    }
    Err(DynamicsError::StateShape {
        step,
        found,
        expected,
    })
}

/// The backward pass through [`Stages`] at one sample: from the last stage to the first, each
/// step multiplies by a transposed Jacobian. It has the singular values of the forward product.
///
/// The sample is repeated once for each tangent vector, so that one backward pass gives all
/// columns. Tangents pass through the number type of each stage's output: a growth rate has about
/// six digits with f32, all of them with f64, three with f16 and two with bf16.
pub struct BackwardProduct<'s, 'a> {
    stages: &'s Stages<'a>,
    /// Inputs of the stages that are left.
    states: Vec<Tensor<2>>,
    output: usize,
}

impl BackwardProduct<'_, '_> {
    /// Width of the narrowest state: the most tangent vectors it can carry.
    pub fn width(&self) -> usize {
        self.states
            .iter()
            .map(|state| state.dims()[1])
            .fold(self.output, usize::min)
    }
}

impl TangentSystem for BackwardProduct<'_, '_> {
    fn dim(&self) -> usize {
        self.output
    }

    fn remaining(&self) -> Option<usize> {
        Some(self.states.len())
    }

    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let index = self.states.len();
        let Some(state) = self.states.pop() else {
            return Err(DynamicsError::TooFewSteps {
                available: self.stages.stages.len(),
                transient: 0,
                needed: self.stages.stages.len() + 1,
            });
        };
        let vectors = block.cols();
        let width = state.dims()[1];
        shape(index, [vectors, block.rows()], [vectors, self.output])?;
        if vectors > 0 {
            let device = state.device();
            let input = state.repeat_dim(0, vectors).detach().require_grad();
            let output = (self.stages.stages[index - 1])(input.clone());
            shape(index, output.dims(), [vectors, self.output])?;
            // Column after column is row after row of `[vectors, out]`.
            let weights = Tensor::<2>::from_data(
                TensorData::new(block.values().to_vec(), [vectors, self.output]),
                (&device, output.dtype()),
            );
            // It is zero. It is there for a stage that ignores its input, whose output could not
            // be differentiated; and in the output's type, for a stage that changes it.
            let nothing = (input.clone() * 0.0).cast(output.dtype()).sum();
            let scalar = (output * weights).sum() + nothing;
            let gradients = scalar.backward();
            block.resize_rows(width);
            // Without a gradient the input does not matter: zeros.
            block.values_mut().fill(0.0);
            if let Some(gradient) = input.grad(&gradients) {
                let data = gradient.into_data();
                for (to, from) in block.values_mut().iter_mut().zip(data.iter::<f64>()) {
                    *to = from;
                }
            }
        }
        self.output = width;
        Ok(())
    }
}
