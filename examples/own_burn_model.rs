//! Cures a user's own Burn model, ten ReLU layers that learn a sine. Their initial weights come
//! from N(0, 1), so the loss is NaN within a few steps.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example own_burn_model`.
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use steadygrad::{cure::Goal, dynamics::Activation};
use steadygrad_lab::{Control, Job, Plan, Silent};
use steadygrad_lab::{Rng, Structure, Subject, Summary, Tape, cure};

#[derive(Module, Debug)]
struct Net {
    hidden: Vec<Linear>,
    output: Linear,
}

struct Sine(Device);

#[rustfmt::skip] // The struct literals stay short.
impl Subject for Sine {
    type Model = Net;

    // To try fewer layers and RMSNorm, set `depth` and let `build` follow the `Structure`.
    fn summary(&self) -> Summary {
        Summary {
            name: "sine".into(), description: "sin(3 x); 10 ReLU layers of 32 units".into(),
            activation: Activation::Relu, depth: None, sequence_length: None,
            training_samples: 150, validation_samples: 50,
            metric: "R squared", goal: Goal { metric: 0.95, trivial: 0.0 },
        }
    }

    fn build(&self, _: &Structure, _: &mut dyn Rng, device: &Device) -> Net {
        let init = Initializer::Normal { mean: 0.0, std: 1.0 };
        let linear = |i, o| LinearConfig::new(i, o).with_initializer(init.clone()).init(device);
        let hidden = (0..10).map(|l| linear(if l == 0 { 1 } else { 32 }, 32)).collect();
        Net { hidden, output: linear(32, 1) }
    }

    fn loss(&self, model: &Net, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        let x: Vec<f32> = rows.iter().map(|row| (row * 37 % 200) as f32 / 100.0 - 1.0).collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [rows.len(), 1]), &self.0);
        let mut h = x.clone();
        for (l, linear) in model.hidden.iter().enumerate() {
            h = tape.watch(format!("hidden.{l}"), relu(linear.forward(h)));
        }
        (model.output.forward(h) - x.mul_scalar(3.0).sin()).square().mean()
    }

    fn validate(&self, model: &Net) -> f64 {
        let rows: Vec<usize> = (150..200).collect();
        let error = self.loss(model, &rows, &mut Tape::off()).into_scalar::<f32>();
        1.0 - f64::from(error) / 0.523 // The variance of sin(3 x).
    }

    fn input_rms(&self, _: &[usize]) -> f64 {
        3f64.sqrt().recip() // x is uniform on -1..1.
    }
}

#[rustfmt::skip]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::default().autodiff();
    let plan = Plan {
        seed: 1, learning_rate: 0.002, steps: 1500, batch_size: 50, ..Plan::default()
    };
    let job = Job::default();
    let control = Control { cancelled: &false.into(), progress: &Silent };
    let report = cure(&Sine(device.clone()), &plan, &job, &device, control, |_| None)?;
    anstream::print!("{}", steadygrad_report::terminal::cure(&report));
    Ok(())
}
