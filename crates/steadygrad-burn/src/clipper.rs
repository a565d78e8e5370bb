use std::convert::Infallible;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use steadygrad::clip::{ClipReading, Clipped, Clipper, Gradients, Needs, Policy, Target};
use steadygrad::setting::SettingError;
use steadygrad::{Decision, Workers};

use crate::apply::apply;
use crate::measure::{Moments, SavedMoment, Tensors, Walk, difference, measure};
use crate::outcome::StepOutcome;

/// Clips a Burn module's gradients, or the optimizer's updates, by any policy.
///
/// A policy never spreads a NaN: a value that it cannot bound stays as it is.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use steadygrad::clip::GlobalNormClip;
/// use steadygrad_burn::GradientClipper;
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(8, 1).init(&device);
/// let mut optimizer = SgdConfig::new().init();
/// let mut clipper = GradientClipper::new(GlobalNormClip::new(1.0)).unwrap();
///
/// let loss = model.forward(Tensor::<2>::random([16, 8], Distribution::Default, &device)).mean();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// let outcome = clipper.step(&mut optimizer, 0.1, model, gradients);
/// let model = outcome.model;
/// assert!(outcome.report.before.global_norm() > 0.0);
/// # let _ = model;
/// ```
#[derive(Debug)]
pub struct GradientClipper {
    clipper: Clipper,
    workers: Workers,
    exempt: Vec<String>,
    moments: Moments,
}

impl GradientClipper {
    /// Creates a clipper from a policy. It works on the calling thread.
    ///
    /// # Errors
    /// [`SettingError`] names the setting of the policy that is out of range.
    pub fn new(policy: impl Into<Policy>) -> Result<Self, SettingError> {
        Ok(Self {
            clipper: Clipper::new(policy)?,
            workers: Workers::single(),
            exempt: Vec::new(),
            moments: Moments::default(),
        })
    }

    /// Lets several threads share the work on CPU tensors. The result stays the same, bit for bit.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Leaves these parameters out, by dotted path: they are neither measured nor changed.
    #[must_use]
    pub fn with_exempt(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exempt.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets the decay rate of the second moment, for the policies that read it. The default is
    /// Adam's 0.999.
    ///
    /// The clipper keeps its own second moment, one value for each weight: Burn does not show the
    /// optimizer's.
    #[must_use]
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.moments.beta2 = beta2;
        self
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.clipper.policy()
    }

    /// Clips the gradients. A policy that acts on the update only measures here; for such a policy
    /// use [`step`](Self::step).
    ///
    /// CPU gradients are measured in place. On other devices each policy needs one read of all
    /// statistics.
    pub fn clip<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
    ) -> (GradientsParams, Clipped) {
        if self.policy().target() == Target::Update {
            let tensors = self.tensors(&gradients, None);
            let before = measure(module, tensors, Needs::Stats, &self.workers).reading;
            let decisions = vec![Decision::Keep];
            return (gradients, Clipped { before, decisions });
        }
        let (gradients, clipped) = self.run(module, gradients, None);
        if self.policy().looks_at_moments() {
            self.moments.push(module, &gradients);
        }
        (gradients, clipped)
    }

    /// Clips, and lets the optimizer step.
    ///
    /// A policy that acts on the update lets the optimizer step first. It then scales the change of
    /// each parameter.
    pub fn step<M: Module>(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: f64,
        module: M,
        gradients: GradientsParams,
    ) -> StepOutcome<M, Clipped> {
        if self.policy().target() == Target::Gradient {
            let (gradients, report) = self.clip(&module, gradients);
            let model = optimizer.step(learning_rate, module, gradients);
            return StepOutcome { model, report };
        }
        if self.policy().looks_at_moments() {
            self.moments.push(&module, &gradients);
        }
        // The optimizer consumes the gradients, so the policy reads copies. These share the memory.
        let copies = copy(&module, &gradients);
        let before = module.clone();
        let after = optimizer.step(learning_rate, module, gradients);
        let updates = difference(&before, &after);
        let (updates, report) = self.run(&before, copies, Some(updates));
        let mut decisions = report.decisions.iter();
        let coefficients = decisions.find_map(|decision| match decision {
            Decision::ScalePerTensor { coefficients } => Some(&coefficients[..]),
            _ => None,
        });
        let model = match coefficients {
            Some(coefficients) => self.replace_updates(&before, after, updates, coefficients),
            None => after,
        };
        StepOutcome { model, report }
    }

    /// The module after its step, with the scaled update where the coefficient is not 1.
    fn replace_updates<M: Module>(
        &self,
        before: &M,
        after: M,
        updates: GradientsParams,
        coefficients: &[f64],
    ) -> M {
        let mut adder = UpdateAdder {
            walk: Walk::new(&self.exempt),
            coefficients: coefficients.iter(),
            updates,
            sums: GradientsParams::new(),
        };
        before.visit(&mut adder);
        after.map(&mut Replacer(adder.sums))
    }

    /// Returns the state to save. A clipper that loads it goes on as if it had never stopped.
    pub fn state<M: Module>(&self, module: &M) -> GradientClipperState {
        GradientClipperState {
            clipper: self.clipper.clone(),
            second_moments: self.moments.save(module),
        }
    }

    /// Goes on from a saved state. Workers, exemptions and beta2 stay as they are in `self`.
    pub fn load_state<M: Module>(&mut self, module: &M, state: GradientClipperState) {
        self.clipper = state.clipper;
        self.moments.load(module, state.second_moments);
    }

    fn tensors<'a>(
        &'a self,
        gradients: &'a GradientsParams,
        updates: Option<&'a GradientsParams>,
    ) -> Tensors<'a> {
        Tensors {
            gradients,
            moments: &self.moments,
            updates,
            exempt: &self.exempt,
            parameters: false,
        }
    }

    /// Runs the policy. Returns what it acted on: the updates if there are any, or the gradients.
    fn run<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
        updates: Option<GradientsParams>,
    ) -> (GradientsParams, Clipped) {
        let mut clipper = self.clipper.clone();
        let mut target = ClipTarget {
            module,
            owner: self,
            gradients,
            updates,
        };
        let Ok(clipped) = clipper.clip(&mut target);
        let ClipTarget {
            gradients, updates, ..
        } = target;
        self.clipper = clipper;
        (updates.unwrap_or(gradients), clipped)
    }
}

/// The saved state of a [`GradientClipper`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientClipperState {
    clipper: Clipper,
    /// One entry a parameter, in module order. It is empty for a parameter that never had a
    /// gradient.
    second_moments: Vec<SavedMoment>,
}

/// A module's tensors, as the core's clipper reads and changes them.
struct ClipTarget<'a, M> {
    module: &'a M,
    owner: &'a GradientClipper,
    gradients: GradientsParams,
    updates: Option<GradientsParams>,
}

impl<M: Module> Gradients for ClipTarget<'_, M> {
    type Error = Infallible;

    fn read(&mut self, needs: Needs) -> Result<ClipReading, Infallible> {
        let tensors = self.owner.tensors(&self.gradients, self.updates.as_ref());
        Ok(measure(self.module, tensors, needs, &self.owner.workers).reading)
    }

    fn apply(&mut self, decision: &Decision) -> Result<(), Infallible> {
        let target = self.updates.as_mut().unwrap_or(&mut self.gradients);
        let GradientClipper {
            moments,
            exempt,
            workers,
            ..
        } = self.owner;
        apply(
            self.module,
            target,
            decision,
            Some(moments),
            exempt,
            workers,
        );
        Ok(())
    }
}

/// Clones the container. The tensors share their memory with the original.
fn copy<M: Module>(module: &M, gradients: &GradientsParams) -> GradientsParams {
    struct Copier<'a>(&'a GradientsParams, GradientsParams);
    impl ModuleVisitor for Copier<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.register(param.id, gradient);
            }
        }
    }
    let mut copier = Copier(gradients, GradientsParams::new());
    module.visit(&mut copier);
    copier.1
}

/// Adds the scaled updates to the weights before the step.
struct UpdateAdder<'a> {
    walk: Walk<'a>,
    /// One for each measured parameter, in the order of the measurements.
    coefficients: std::slice::Iter<'a, f64>,
    updates: GradientsParams,
    sums: GradientsParams,
}

impl ModuleVisitor for UpdateAdder<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.walk.arrive(param.id).is_none() {
            return;
        }
        let scaled = self
            .coefficients
            .next()
            .is_some_and(|&coefficient| coefficient != 1.0);
        let update = self.updates.remove::<D>(param.id).filter(|_| scaled);
        if let Some(update) = update {
            self.sums.register(param.id, param.val().inner() + update);
        }
    }
}

/// Replaces the values of those parameters that have a new tensor.
struct Replacer(GradientsParams);

impl ModuleMapper for Replacer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let new = self.0.get::<D>(param.id);
        param.map(|tensor| match new {
            Some(new) if tensor.is_require_grad() => Tensor::from_inner(new).require_grad(),
            _ => tensor,
        })
    }
}
