use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use steadygrad::clip::{ClipReading, Clipped, Clipper, Gradients, Needs, Policy, Target};
use steadygrad::setting::SettingError;
use steadygrad::{Decision, Workers};

use crate::apply::apply;
use crate::measure::{Tensors, measure};
use crate::moments::{Moments, SavedMoment, looks_at_moments};
use crate::norms::difference;
use crate::walk::Walk;

/// Any clipping policy on a Burn module's gradients.
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
/// let (model, clipped) = clipper.step(&mut optimizer, 0.1, model, gradients);
/// println!("norm before clipping: {}", clipped.before.global_norm());
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
    /// A policy that has seen nothing yet, on this thread.
    ///
    /// # Errors
    /// When a setting of the policy cannot be used.
    pub fn new(policy: impl Into<Policy>) -> Result<Self, SettingError> {
        Ok(Self {
            clipper: Clipper::new(policy)?,
            workers: Workers::single(),
            exempt: Vec::new(),
            moments: Moments::default(),
        })
    }

    /// Lets several threads share the work on CPU tensors. The result is the same to the bit.
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Leaves these parameters out, by dotted path: they are neither measured nor changed.
    pub fn exempt(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exempt.extend(names.into_iter().map(Into::into));
        self
    }

    /// How fast the second moment forgets, for the policies that look at it; 0.999 unless set, as
    /// in Adam. The clipper keeps its own, since an optimizer's is out of reach: one value a weight.
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.moments.beta2 = beta2;
        self
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.clipper.policy()
    }

    /// Clips the gradients. A policy that acts on the update only measures here: use
    /// [`step`](Self::step).
    ///
    /// Gradients on the CPU backend are measured where they lie; on other devices all statistics
    /// come back in one read a policy.
    pub fn clip<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
    ) -> (GradientsParams, Clipped) {
        if self.policy().target() == Target::Update {
            let tensors = self.tensors(&gradients, None);
            let before = measure(module, tensors, Needs::Stats, &self.workers).reading;
            return (
                gradients,
                Clipped {
                    before,
                    decisions: vec![Decision::Keep],
                },
            );
        }
        let (gradients, clipped) = self.run(module, gradients, None);
        if looks_at_moments(self.policy()) {
            self.moments.push(module, &gradients);
        }
        (gradients, clipped)
    }

    /// Clips, and lets the optimizer step. A policy that acts on the update lets it step first and
    /// then scales the change of each parameter.
    pub fn step<M: Module>(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: f64,
        module: M,
        gradients: GradientsParams,
    ) -> (M, Clipped) {
        if self.policy().target() == Target::Gradient {
            let (gradients, clipped) = self.clip(&module, gradients);
            return (optimizer.step(learning_rate, module, gradients), clipped);
        }
        if looks_at_moments(self.policy()) {
            self.moments.push(&module, &gradients);
        }
        // The optimizer takes the gradients: the policy is shown copies, which share their memory.
        let shown = copy(&module, &gradients);
        let before = module.clone();
        let after = optimizer.step(learning_rate, module, gradients);
        let updates = difference(&before, &after);
        let (updates, clipped) = self.run(&before, shown, Some(updates));
        let coefficients = clipped
            .decisions
            .iter()
            .find_map(|decision| match decision {
                Decision::ScalePerTensor { coefficients } => Some(&coefficients[..]),
                _ => None,
            });
        let module = match coefficients {
            Some(coefficients) => self.take_back(&before, after, updates, coefficients),
            None => after,
        };
        (module, clipped)
    }

    /// The module after its step, but with the scaled update where the coefficient is not 1.
    fn take_back<M: Module>(
        &self,
        before: &M,
        after: M,
        updates: GradientsParams,
        coefficients: &[f64],
    ) -> M {
        let mut weights = WithUpdate {
            walk: Walk::new(&self.exempt),
            coefficients: coefficients.iter(),
            updates,
            sums: GradientsParams::new(),
        };
        before.visit(&mut weights);
        after.map(&mut Replace(weights.sums))
    }

    /// What has to be saved to go on as if nothing had happened.
    pub fn state<M: Module>(&self, module: &M) -> GradientClipperState {
        GradientClipperState {
            clipper: self.clipper.clone(),
            second_moments: self.moments.save(module),
        }
    }

    /// Goes on from a saved state; workers, exemptions and beta2 stay as they are here.
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

    /// Runs the policy; gives back what it acted on.
    fn run<M: Module>(
        &mut self,
        module: &M,
        gradients: GradientsParams,
        updates: Option<GradientsParams>,
    ) -> (GradientsParams, Clipped) {
        let mut clipper = self.clipper.clone();
        let mut view = View {
            module,
            owner: self,
            gradients,
            updates,
        };
        let Ok(clipped) = clipper.clip(&mut view);
        let View {
            gradients, updates, ..
        } = view;
        self.clipper = clipper;
        (updates.unwrap_or(gradients), clipped)
    }
}

/// A saved [`GradientClipper`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientClipperState {
    clipper: Clipper,
    /// One entry a parameter, in module order; empty for those without a gradient so far.
    second_moments: Vec<SavedMoment>,
}

struct View<'a, M> {
    module: &'a M,
    owner: &'a GradientClipper,
    gradients: GradientsParams,
    updates: Option<GradientsParams>,
}

impl<M: Module> Gradients for View<'_, M> {
    type Error = Infallible;

    fn read(&mut self, needs: Needs) -> Result<ClipReading, Infallible> {
        let tensors = self.owner.tensors(&self.gradients, self.updates.as_ref());
        Ok(measure(self.module, tensors, needs, &self.owner.workers).reading)
    }

    fn apply(&mut self, decision: &Decision) -> Result<(), Infallible> {
        let target = self.updates.as_mut().unwrap_or(&mut self.gradients);
        let moments = Some(&self.owner.moments);
        apply(
            self.module,
            target,
            decision,
            moments,
            &self.owner.exempt,
            &self.owner.workers,
        );
        Ok(())
    }
}

fn copy<M: Module>(module: &M, gradients: &GradientsParams) -> GradientsParams {
    struct Visitor<'a>(&'a GradientsParams, GradientsParams);
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.register(param.id, gradient);
            }
        }
    }
    let mut visitor = Visitor(gradients, GradientsParams::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Adds the scaled updates to the weights before the step.
struct WithUpdate<'a> {
    walk: Walk<'a>,
    /// Of the parameters that were measured, in their order.
    coefficients: std::slice::Iter<'a, f64>,
    updates: GradientsParams,
    sums: GradientsParams,
}

impl ModuleVisitor for WithUpdate<'_> {
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

/// Puts tensors in the place of the parameters' values.
struct Replace(GradientsParams);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let new = self.0.get::<D>(param.id);
        param.map(|tensor| match new {
            Some(new) if tensor.is_require_grad() => Tensor::from_inner(new).require_grad(),
            _ => tensor,
        })
    }
}
