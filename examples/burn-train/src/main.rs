//! Puts a guard inside `burn-train`'s learner. A small network learns a sine, and two of its
//! samples are broken (NaN). Without the guard the first broken sample ruins the run.
//!
//! Run it with `cargo run --release --manifest-path examples/burn-train/Cargo.toml`.

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, activation::tanh};
use burn_train::metric::LossMetric;
use burn_train::{
    InferenceStep, Interrupter, Learner, RegressionOutput, SupervisedTraining, TrainOutput,
    TrainStep,
};
use steadygrad::Guard;
use steadygrad::guard::{GuardSummary, Preset};
use steadygrad_burn::LearnerGuard;

#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

/// The module that the learner trains: the network with its guard.
#[derive(Module, Debug)]
struct Guarded {
    network: Network,
    #[module(skip)]
    guard: LearnerGuard<Network>,
}

#[derive(Debug, Clone)]
struct Sine;

#[derive(Debug, Clone)]
struct Batch {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

impl Batcher<(f32, f32), Batch> for Sine {
    fn batch(&self, items: Vec<(f32, f32)>, device: &Device) -> Batch {
        let column = |values: Vec<f32>| {
            let rows = values.len();
            Tensor::<2>::from_data(TensorData::new(values, [rows, 1]), device)
        };
        let (inputs, targets) = items.into_iter().unzip();
        Batch {
            inputs: column(inputs),
            targets: column(targets),
        }
    }
}

impl Guarded {
    fn loss(&self, batch: Batch) -> RegressionOutput {
        let hidden = tanh(self.network.hidden.forward(batch.inputs));
        let output = self.network.output.forward(hidden);
        let loss = MseLoss::new();
        let loss = loss.forward(output.clone(), batch.targets.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, batch.targets)
    }
}

impl TrainStep for Guarded {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let output = self.loss(batch);
        self.guard.record_loss(output.loss.clone().into_scalar());
        TrainOutput::new(self, output.loss.backward(), output)
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let Self { network, guard } = self;
        let network = guard.optimize(optimizer, learning_rate, network, gradients);
        Self { network, guard }
    }
}

impl InferenceStep for Guarded {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.loss(batch)
    }
}

/// Samples of `sin(3 x)`. The inputs at the indices `broken` are NaN.
fn samples(broken: &[usize]) -> InMemDataset<(f32, f32)> {
    let items = (0..512).map(|index| {
        let x = index as f32 / 256.0 - 1.0;
        let input = if broken.contains(&index) { f32::NAN } else { x };
        (input, (3.0 * x).sin())
    });
    InMemDataset::new(items.collect())
}

/// Trains for forty epochs. Returns the mean error of the trained network and the guard's counts.
fn train(preset: Preset) -> (f32, GuardSummary) {
    let device = Device::flex();
    let loader = |broken: &[usize]| {
        DataLoaderBuilder::new(Sine)
            .batch_size(32)
            .shuffle(7)
            .build(samples(broken))
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let interrupter = Interrupter::new();
    let training = SupervisedTraining::new(folder.path(), loader(&[100, 300]), loader(&[]))
        .num_epochs(40)
        .metric_train_numeric(LossMetric::new())
        .with_application_logger(None)
        .with_interrupter(interrupter.clone());
    let autodiff = device.clone().autodiff();
    autodiff.seed(1);
    let guard = LearnerGuard::new(Guard::from(preset), move |reason| {
        interrupter.stop(Some(reason));
    });
    let model = Guarded {
        network: Network {
            hidden: LinearConfig::new(1, 32).init(&autodiff),
            output: LinearConfig::new(32, 1).init(&autodiff),
        },
        guard: guard.clone(),
    };
    let learner = Learner::new(model, AdamConfig::new().init(), 0.01);
    let trained = training.launch(learner).model;
    let all = (0..512).map(|index| index as f32 / 256.0 - 1.0);
    let batch = Sine.batch(all.map(|x| (x, (3.0 * x).sin())).collect(), &device);
    let output = trained.loss(batch);
    let error = (output.output - output.targets).abs().mean();
    (error.into_scalar(), guard.summary())
}

fn main() {
    let (error, summary) = train(Preset::Default);
    println!(
        "with the guard: mean error {error:.3}; it skipped {} of {} steps",
        summary.skipped, summary.readings
    );
    let (error, _) = train(Preset::Observe);
    println!("with a guard that only observes: mean error {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_saves_the_run_and_observing_does_not() {
        let (error, summary) = train(Preset::Default);
        assert!(error < 0.2, "{error}");
        // Each of forty epochs has two broken samples, rarely both in one batch.
        assert!((40..=80).contains(&summary.skipped), "{summary:?}");
        assert_eq!(summary.stopped, 0);
        let (error, _) = train(Preset::Observe);
        assert!(error.is_nan());
    }
}
