//! A one-pass step equals Burn's own step bit for bit. It measures the same norms that a guard
//! would measure.

use burn::module::{Module, ModuleMapper, Param, ParamGroup};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, LearningRate, ModuleOptimizer, Optimizer,
    RecordState, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use steadygrad::Guard;
use steadygrad::guard::Preset;
use steadygrad_burn::optim::{Adam, AdamW, Sgd};
use steadygrad_burn::{GuardedOptimizer, for_each_parameter, map_parameters};

#[derive(Module, Debug)]
struct Net {
    /// A stride that leaves gaps in the gradient.
    strided: Conv2d,
    first: Linear,
    norm: LayerNorm,
    /// A transposed view: its memory order differs from its gradient's.
    second: Param<Tensor<2>>,
    /// A layer without a gradient.
    unused: Linear,
}

fn net() -> Net {
    let device = Device::flex().autodiff();
    let values: Vec<f32> = (0..33).map(|at| (at as f32 * 0.9).sin()).collect();
    let second = Tensor::<2>::from_data(TensorData::new(values, [3, 11]), &device);
    let strided = Conv2dConfig::new([1, 1], [3, 3]).with_stride([2, 2]);
    Net {
        strided: strided.init(&device),
        first: LinearConfig::new(4, 11).init(&device),
        norm: LayerNormConfig::new(11).init(&device),
        second: Param::from_tensor(second.transpose()),
        unused: LinearConfig::new(2, 2).init(&device),
    }
}

fn gradients(model: &Net, step: u64, scale: f32) -> (f64, GradientsParams) {
    let values: Vec<f32> = (0..8 * 36)
        .map(|at| (at as f32 * 0.7 + step as f32).sin() * scale)
        .collect();
    let weights = model.first.weight.val();
    let data = TensorData::new(values, [8, 1, 6, 6]);
    let images = Tensor::<4>::from_data(data, (&weights.device(), weights.dtype()));
    let input = model.strided.forward(images).flatten::<2>(1, 3);
    let hidden = model.norm.forward(model.first.forward(input)).tanh();
    let loss = (hidden.matmul(model.second.val()) - 1.0).square().mean();
    let value = loss.clone().into_scalar::<f64>();
    (value, GradientsParams::from_grads(loss.backward(), model))
}

fn bits(model: &Net) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| {
        let bits = |value: &f32| if value.is_nan() { 0 } else { value.to_bits() };
        all.push(values.iter().map(bits).collect());
    });
    all
}

/// Pairs each optimizer of this crate with Burn's own at the same settings.
fn pairs() -> Vec<(&'static str, ModuleOptimizer, ModuleOptimizer)> {
    let momentum = |dampening, nesterov| {
        let config = MomentumConfig::new().with_dampening(dampening);
        Some(config.with_momentum(0.8).with_nesterov(nesterov))
    };
    let decay = || Some(WeightDecayConfig::new(0.03));
    let mut all: Vec<(&'static str, ModuleOptimizer, ModuleOptimizer)> = vec![
        ("sgd", Sgd::default().into(), SgdConfig::new().init()),
        ("adam", Adam::default().into(), AdamConfig::new().init()),
        (
            "adam with decay",
            Adam::default()
                .with_betas(0.8, 0.95)
                .with_epsilon(1e-8)
                .with_weight_decay(decay())
                .into(),
            AdamConfig::new()
                .with_beta_1(0.8)
                .with_beta_2(0.95)
                .with_epsilon(1e-8)
                .with_weight_decay(decay())
                .init(),
        ),
        ("adamw", AdamW::default().into(), AdamWConfig::new().init()),
        (
            "adamw without decay",
            AdamW::default()
                .with_betas(0.8, 0.95)
                .with_epsilon(1e-8)
                .with_weight_decay(0.0)
                .into(),
            AdamWConfig::new()
                .with_beta_1(0.8)
                .with_beta_2(0.95)
                .with_epsilon(1e-8)
                .with_weight_decay(0.0)
                .init(),
        ),
    ];
    for (name, dampening, nesterov, decay) in [
        ("momentum", 0.0, false, None),
        ("damped momentum", 0.1, false, None),
        ("nesterov", 0.1, true, None),
        ("momentum with decay", 0.0, false, decay()),
        ("damped momentum with decay", 0.1, false, decay()),
        ("nesterov with decay", 0.1, true, decay()),
    ] {
        let ours = Sgd::default()
            .with_momentum(momentum(dampening, nesterov))
            .with_weight_decay(decay.clone());
        let burns = SgdConfig::new()
            .with_momentum(momentum(dampening, nesterov))
            .with_weight_decay(decay);
        all.push((name, ours.into(), burns.init()));
    }
    all
}

#[test]
fn weights_equal_those_of_burns_optimizers_bit_for_bit() {
    for (name, mut ours, mut burns) in pairs() {
        let mut model = net();
        let mut other = model.clone();
        for step in 0..12 {
            // The last gradient is not finite, because no guard stops it here.
            let scale = if step == 11 { f32::INFINITY } else { 1.0 };
            let (_, one) = gradients(&model, step, scale);
            let (_, two) = gradients(&other, step, scale);
            model = ours.step(0.05, model, one);
            other = burns.step(0.05, other, two);
            assert_eq!(bits(&model), bits(&other), "{name}, step {step}");
        }
    }
}

/// No tensor is f32, so these steps use tensor operations.
#[test]
fn weights_in_f64_equal_those_of_burns_optimizers() {
    for (name, mut ours, mut burns) in pairs() {
        let wide = |tensor: Tensor<2>| tensor.cast(DType::F64).detach().require_grad();
        let mut model = net();
        model.second = model.second.map(wide);
        model.first.weight = model.first.weight.map(wide);
        let step = |model: Net, optimizer: &mut ModuleOptimizer| {
            let weights = model.first.weight.val();
            let loss = weights.square().sum() + model.second.val().powi_scalar(4).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            optimizer.step(0.05, model, gradients)
        };
        let mut other = model.clone();
        for _ in 0..4 {
            model = step(model, &mut ours);
            other = step(other, &mut burns);
        }
        let values = |model: &Net| model.second.val().into_data().try_to_vec::<f64>().unwrap();
        assert_eq!(values(&model), values(&other), "{name}");
        assert_ne!(values(&model), values(&net_in_f64()), "{name}");
    }

    fn net_in_f64() -> Net {
        let mut model = net();
        model.second = model.second.map(|tensor| tensor.cast(DType::F64));
        model
    }
}

#[test]
fn each_optimizer_reads_the_others_records() {
    let (fresh, again) = (pairs(), pairs());
    for (((name, mut ours, mut burns), (_, our_new, _)), (_, _, burns_new)) in
        pairs().into_iter().zip(fresh).zip(again)
    {
        let mut model = net();
        for step in 0..3 {
            let (_, one) = gradients(&model, step, 1.0);
            let (_, two) = gradients(&model, step, 1.0);
            let next = ours.step(0.05, model.clone(), one);
            burns.step(0.05, model, two);
            model = next;
        }
        let mut read_by_burn = burns_new.from_bytes(ours.into_bytes().unwrap()).unwrap();
        let mut read_by_us = our_new.from_bytes(burns.into_bytes().unwrap()).unwrap();
        let next = |optimizer: &mut ModuleOptimizer| {
            let (_, gradients) = gradients(&model, 3, 1.0);
            bits(&optimizer.step(0.05, model.clone(), gradients))
        };
        let expected = next(&mut burns);
        for optimizer in [&mut ours, &mut read_by_burn, &mut read_by_us] {
            assert_eq!(next(optimizer), expected, "{name}");
        }
    }
}

/// A guard's snapshot shares its memory with the model in training.
#[test]
fn training_does_not_write_into_a_snapshot() {
    for (name, mut optimizer, _) in pairs() {
        let mut model = net();
        for step in 0..3 {
            let (_, gradients) = gradients(&model, step, 1.0);
            model = optimizer.step(0.05, model, gradients);
        }
        let (kept, mut kept_optimizer) = (model.clone(), optimizer.clone());
        let before = bits(&kept);
        let (_, one) = gradients(&model, 3, 1.0);
        let expected = bits(&optimizer.step(0.05, model, one));
        assert_eq!(bits(&kept), before, "{name}");
        assert_ne!(expected, before, "{name}");
        let (_, one) = gradients(&kept, 3, 1.0);
        assert_eq!(
            bits(&kept_optimizer.step(0.05, kept, one)),
            expected,
            "{name}"
        );
    }
}

/// A wrapper that bounds the weights after another optimizer's step.
#[derive(Clone)]
struct Bounded<O>(O);

impl<O: Optimizer> Optimizer for Bounded<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (tensor, state) = self.0.step(lr, tensor, grad, state);
        (tensor.clamp(-0.4, 0.4), state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// The L2 norm of the change from `before` to `after`, over all values.
fn distance(before: &Net, after: &Net) -> f64 {
    let values = |model: &Net| {
        let mut all = Vec::new();
        for_each_parameter(model, |_, values| all.extend_from_slice(values));
        all
    };
    let pairs = values(before).into_iter().zip(values(after));
    pairs
        .map(|(before, after)| f64::from(after - before).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Pairs whose optimizer does not measure every parameter or every step.
fn mixed_pairs() -> [(&'static str, ModuleOptimizer, ModuleOptimizer); 3] {
    let mixed = |optimizer: ModuleOptimizer, burns: bool| {
        let group = ParamGroup::from_paths(vec!["norm.gamma", "norm.beta"]);
        if burns {
            optimizer.with_group(group, AdamConfig::new().build(), None)
        } else {
            optimizer.with_group(group, Adam::default(), None)
        }
    };
    let burns = || mixed(SgdConfig::new().init(), true);
    [
        ("half", mixed(Sgd::default().into(), true), burns()),
        ("groups", mixed(Sgd::default().into(), false), burns()),
        (
            "bounded",
            Bounded(Adam::default()).into(),
            Bounded(AdamConfig::new().build()).into(),
        ),
    ]
}

/// Compares a guard around an optimizer that measures itself with a guard around one that does not.
/// The runs include a skipped step, weights changed from outside, and parameter groups of both
/// kinds.
#[test]
fn a_guard_reads_the_same_from_both() {
    for (name, ours, burns) in pairs().into_iter().chain(mixed_pairs()) {
        let mut model = net();
        let mut other = model.clone();
        let mut ours = GuardedOptimizer::new(Guard::default(), ours);
        let mut burns = GuardedOptimizer::new(Guard::default(), burns);
        for step in 0..24 {
            if step == 20 {
                let shrink = |_: &str, _: &[usize], values: &mut [f32]| {
                    values.iter_mut().for_each(|value| *value *= 0.99);
                    true
                };
                model = map_parameters(model, shrink);
                other = map_parameters(other, shrink);
            }
            let scale = if step == 7 { f32::NAN } else { 1.0 };
            let (loss, one) = gradients(&model, step, scale);
            let (_, two) = gradients(&other, step, scale);
            let before = model.clone();
            let done = ours.step(0.01, model, one, loss);
            let same = burns.step(0.01, other, two, loss);
            let [report, other_report] = [&done.report, &same.report];
            // Compare as text, because NaN does not equal itself.
            let readings = [report, other_report].map(|report| format!("{:?}", report.reading));
            assert_eq!(readings[0], readings[1], "{name}, step {step}");
            let update_norm = report.update_norm;
            assert_eq!(update_norm, other_report.update_norm, "{name}, step {step}");
            assert_eq!(update_norm.is_none(), step == 7, "{name}, step {step}");
            (model, other) = (done.model, same.model);
            assert_eq!(bits(&model), bits(&other), "{name}, step {step}");
            // This holds from the first step, also for the parameter in another memory order.
            let expected = distance(&before, &model);
            let found = update_norm.unwrap_or_default();
            assert!(
                (found - expected).abs() <= 1e-6 * expected,
                "{name}, step {step}: {found} {expected}"
            );
        }
    }
}

/// In f64 no step takes one pass, and the norms come from tensor operations.
#[test]
fn a_guard_reads_f64() {
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F64).detach().require_grad())
        }
    }
    let mut model = net().map(&mut Double);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), Adam::default().into());
    for step in 0..4 {
        let (loss, gradients) = gradients(&model, step, 1.0);
        let before = model.clone();
        let done = optimizer.step(0.01, model, gradients, loss);
        model = done.model;
        let expected = distance(&before, &model);
        let found = done.report.update_norm.unwrap();
        assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");
        let mut norms = done.report.reading.weight_norms.iter();
        assert!(norms.all(|norm| *norm > 0.0 || step == 0));
    }
}

/// A wrapper that, from its tenth step on, halves the weights after another optimizer's step. If it
/// `keeps`, it also holds on to the weights that the other optimizer made.
#[derive(Clone)]
struct Halves<O> {
    optimizer: O,
    keeps: bool,
}

#[derive(Clone)]
struct HalvesState<S, const D: usize> {
    inner: Option<S>,
    steps: usize,
    _kept: Option<Tensor<D>>,
}

impl<S: Send + Sync + 'static, const D: usize> RecordState for HalvesState<S, D> {
    fn state_flatten(&self, _: &str, _: &mut StateSink) {}
    fn state_unflatten(_: &str, _: &mut StateSource, _: &Device) -> Option<Self> {
        None
    }
}

impl<O: Optimizer> Optimizer for Halves<O> {
    type State<const D: usize> = HalvesState<O::State<D>, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (inner, steps) = state.map_or((None, 0), |state| (state.inner, state.steps));
        let (tensor, inner) = self.optimizer.step(lr, tensor, grad, inner);
        let halves = steps >= 10;
        let _kept = (halves && self.keeps).then(|| tensor.clone());
        let tensor = if halves { tensor * 0.5 } else { tensor };
        let steps = steps + 1;
        (
            tensor,
            Some(HalvesState {
                inner,
                steps,
                _kept,
            }),
        )
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let inner = state.inner.map(|inner| O::to_device(inner, device));
        HalvesState { inner, ..state }
    }
}

/// The norms match the model, even if a wrapper begins late to change weights after their
/// measurement. A wrapper that also keeps the measured weights is detected one step later. The
/// guard never reads a wrong norm.
#[test]
fn a_wrapper_that_changes_measured_weights_is_found_out() {
    for keeps in [false, true] {
        let optimizer = Halves {
            optimizer: Adam::default(),
            keeps,
        };
        let mut optimizer = GuardedOptimizer::new(Guard::from(Preset::Observe), optimizer.into());
        let mut model = net();
        let mut last = None;
        for step in 0..16 {
            let (loss, gradients) = gradients(&model, step, 1.0);
            let before = model.clone();
            let done = optimizer.step(0.01, model, gradients, loss);
            model = done.model;
            let update_norm = done.report.update_norm;
            let read = &done.report.reading.update_norms;
            let read = (!read.is_empty()).then(|| read.iter().fold(0.0f64, |a, b| a.hypot(*b)));
            // At step 10 the norm is unknown, or it is the norm of the inner optimizer's step.
            let known = |found: Option<f64>, expected: f64| {
                found.is_some_and(|found| (found - expected).abs() <= 1e-6 * expected)
            };
            let expected = distance(&before, &model);
            if step != 10 {
                assert!(known(update_norm, expected), "{keeps}, step {step}");
            } else if keeps {
                assert!(update_norm.is_some_and(|found| found < 0.5 * expected));
            } else {
                assert_eq!(update_norm, None);
            }
            match (step, last) {
                (11, _) => assert_eq!(read, None, "{keeps}"),
                (_, Some(expected)) => assert!(known(read, expected), "{keeps}, step {step}"),
                (_, None) => assert_eq!(read, None),
            }
            last = Some(expected);
        }
    }
}
