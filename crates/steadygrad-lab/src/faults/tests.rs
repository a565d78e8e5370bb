use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use steadygrad_burn::{for_each_parameter, gradient_values};

use super::*;

const AT: u64 = 10;

#[derive(Module, Debug)]
struct Two {
    matrix: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

const MATRIX: [f32; 4] = [0.5, -0.25, 1e-3, 0.0];
const BIAS: [f32; 2] = [0.125, -0.75];

fn two() -> Two {
    let device = Device::flex().autodiff();
    let matrix = Tensor::from_data(TensorData::new(MATRIX.to_vec(), [2, 2]), &device);
    let bias = Tensor::from_data(TensorData::new(BIAS.to_vec(), [2]), &device);
    Two {
        matrix: Param::from_tensor(matrix),
        bias: Param::from_tensor(bias),
    }
}

fn weights(model: &Two) -> Vec<f32> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| all.extend_from_slice(values));
    all
}

fn one(fault: Fault, seed: u64) -> Faults {
    Faults::new(vec![fault], seed).unwrap()
}

/// The attempts at which a fault is at work, of the first hundred.
fn active(faults: &Faults) -> Vec<u64> {
    (0..100).filter(|attempt| faults.active(*attempt)).collect()
}

fn window(from: u64, steps: u64) -> Vec<u64> {
    (from..from + steps).collect()
}

#[test]
fn every_fault_acts_in_its_window_only() {
    for fault in Fault::all(AT) {
        let faults = one(fault.clone(), 1);
        let steps = fault.steps().unwrap();
        assert_eq!(active(&faults), window(AT, steps), "{fault:?}");
        let (name, model) = (fault.name(), two());
        for attempt in [0, AT - 1, AT + steps, u64::MAX] {
            assert!(faults.batch(attempt).is_none(), "{name}");
            assert_eq!(faults.learning_rate(attempt, 0.1), 0.1, "{name}");
            let same = weights(&faults.model(attempt, model.clone()));
            assert_eq!(same, weights(&model), "{name}");
        }
    }
    let for_good = one(Fault::ShiftedData(ShiftedData::at(97)), 1);
    assert_eq!(active(&for_good), [97, 98, 99]);
    assert!(for_good.active(u64::MAX) && !Faults::default().active(0));
}

/// Every fault, at the first of its attempts, touches the one place that it is about.
#[test]
fn every_fault_touches_one_place() {
    for fault in Fault::all(AT) {
        let faults = one(fault.clone(), 1);
        let batch = !faults.batch(AT).is_none();
        let rate = faults.learning_rate(AT, 0.1) != 0.1;
        let model = two();
        let moved = weights(&faults.model(AT, model.clone())) != weights(&model);
        let gradients = passed(&faults, AT, [1.0; 4]).iter().any(|g| *g != 1.0);
        let touched = [batch, rate, moved, gradients];
        assert_eq!(touched.iter().filter(|hit| **hit).count(), 1, "{fault:?}");
        assert_eq!(moved, fault.corrupts_weights(), "{fault:?}");
    }
}

#[test]
fn batches_become_what_the_fault_says() {
    let distorted = |fault, attempt| {
        let mut values = [1.0f32, -2.0, 0.0];
        one(fault, 5).batch(attempt).inputs(&mut values);
        values
    };
    let scaled = distorted(Fault::ScaledBatch(ScaledBatch::at(AT)), AT);
    assert_eq!(scaled, [1e6, -2e6, 0.0]);
    let shifted = distorted(Fault::ShiftedData(ShiftedData::at(AT)), AT + 1000);
    assert_eq!(shifted, [0.0, 9.0, 3.0]);
    for (poison, is) in [
        (Poison::Nan, f32::is_nan as fn(f32) -> bool),
        (Poison::Inf, |value: f32| value == f32::INFINITY),
    ] {
        let fault = Fault::PoisonedBatch(PoisonedBatch::at(AT, poison));
        let hit = distorted(fault, AT);
        assert_eq!(hit.iter().filter(|value| is(**value)).count(), 1);
        assert_eq!(hit.iter().filter(|value| value.is_finite()).count(), 2);
    }

    let relabelled = |fault, attempt| {
        let mut classes: Vec<usize> = (0..1000).map(|row| row % 10).collect();
        one(fault, 5).batch(attempt).classes(&mut classes, 10);
        let wrong = (0..1000).filter(|row| classes[*row] != row % 10).count();
        (classes[9], wrong)
    };
    let rotated = Fault::RotatedLabels(RotatedLabels::at(AT));
    assert_eq!(relabelled(rotated, AT), (0, 1000));
    // Of the labels drawn anew a tenth stays right.
    let noise = Fault::LabelNoise(LabelNoise {
        at_step: AT,
        steps: 4,
    });
    for (attempt, share) in [(AT, 0.25), (AT + 1, 0.5), (AT + 3, 1.0)] {
        let (_, wrong) = relabelled(noise.clone(), attempt);
        let found = wrong as f64 / 1000.0;
        assert!((found - 0.9 * share).abs() < 0.05, "{attempt}: {found}");
    }
}

#[test]
fn learning_rates_become_what_the_fault_says() {
    let spike = one(Fault::LearningRateSpike(LearningRateSpike::at(AT)), 1);
    assert_eq!(spike.learning_rate(AT, 0.25), 25.0);
    assert_eq!(spike.learning_rate(AT, 0.0), 0.0);
    assert!(spike.learning_rate(AT, f64::NAN).is_nan());

    let growth = one(Fault::LearningRateGrowth(LearningRateGrowth::at(AT)), 1);
    for since in 0..40 {
        let expected = 0.1 * 1.3f64.powi(since + 1);
        let found = growth.learning_rate(AT + since as u64, 0.1);
        assert!((found / expected - 1.0).abs() < 1e-12, "{since}: {found}");
    }
    let long = LearningRateGrowth {
        steps: u64::MAX,
        ..LearningRateGrowth::at(0)
    };
    let endless = one(Fault::LearningRateGrowth(long), 1);
    assert_eq!(endless.learning_rate(1 << 40, 0.1), f64::MAX);

    // Two at once.
    let faults = vec![
        Fault::LearningRateSpike(LearningRateSpike::at(AT)),
        Fault::LearningRateSpike(LearningRateSpike::at(AT + 2)),
    ];
    let both = Faults::new(faults, 1).unwrap();
    assert_eq!(both.learning_rate(AT, 1.0), 100.0);
    assert_eq!(both.learning_rate(AT + 2, 1.0), 1e4);
}

#[test]
fn weights_become_what_the_fault_says() {
    let clean = weights(&two());
    let growth = one(Fault::WeightGrowth(WeightGrowth::at(AT)), 1);
    let grown = weights(&growth.model(AT, two()));
    for (grown, clean) in grown.iter().zip(&clean) {
        assert_eq!(*grown, (f64::from(*clean) * 1.05) as f32);
    }

    let mut places = Vec::new();
    for seed in 0..60 {
        let flipped = weights(&one(Fault::BitFlip(BitFlip::at(AT)), seed).model(AT, two()));
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let changed: Vec<(usize, u32)> = bits(&flipped)
            .iter()
            .zip(bits(&clean))
            .map(|(a, b)| a ^ b)
            .enumerate()
            .filter(|(_, bits)| *bits != 0)
            .collect();
        let [(place, bits)] = changed[..] else {
            panic!("{changed:?}")
        };
        assert_eq!(bits, 1 << 30);
        places.push(place);
    }
    // The seed reaches every value.
    assert!((0..6).all(|place| places.contains(&place)), "{places:?}");

    let named = BitFlip {
        parameter: Some("bias".into()),
        bit: 31,
        ..BitFlip::at(AT)
    };
    let flipped = weights(&one(Fault::BitFlip(named), 3).model(AT, two()));
    assert_eq!(flipped[..4], clean[..4]);
    let signs = flipped[4..].iter().zip(BIAS).filter(|(a, b)| **a == -b);
    assert_eq!(signs.count(), 1);
}

/// What becomes of these gradients of the matrix. The bias has none.
fn passed(faults: &Faults, attempt: u64, values: [f32; 4]) -> Vec<f32> {
    let model = two();
    let device = Device::flex();
    let mut gradients = GradientsParams::new();
    let tensor = Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), &device);
    gradients.register(model.matrix.id, tensor);
    let gradients = faults.gradients(attempt, &model, gradients);
    assert_eq!(gradients.len(), 1);
    gradient_values(&model, &gradients).concat()
}

#[test]
fn gradients_overflow_where_f16_ends() {
    let fault = F16Overflow {
        loss_scale: 1024.0,
        ..F16Overflow::at(AT)
    };
    let faults = one(Fault::F16Overflow(fault), 1);
    // 65504 is the largest f16; from 65520 on a value rounds to infinity.
    let largest = 65504.0 / 1024.0;
    let values = [largest, 65520.0 / 1024.0, -100.0, 0.1];
    let [kept, over, negative, rounded] = passed(&faults, AT, values)[..] else {
        panic!("four")
    };
    assert_eq!(
        (kept, over, negative),
        (largest, f32::INFINITY, f32::NEG_INFINITY)
    );
    assert!(rounded != 0.1 && (rounded - 0.1).abs() < 1e-4);
    let odd = passed(&faults, AT, [f32::NAN, f32::INFINITY, 0.0, 1e-30]);
    assert!(odd[0].is_nan());
    assert_eq!(odd[1..], [f32::INFINITY, 0.0, 0.0]);
    assert_eq!(passed(&faults, AT + 1, values), values);
}

/// What happens depends on seed and attempt, not on what was asked before.
#[test]
fn the_seed_decides_and_the_order_of_calls_does_not() {
    for fault in Fault::all(AT) {
        let steps = fault.steps().unwrap();
        let what = |faults: &Faults, attempt: u64| {
            let mut values: Vec<f32> = vec![1.0; 500];
            let mut classes: Vec<usize> = vec![0; 500];
            let distortion = faults.batch(attempt);
            distortion.inputs(&mut values);
            distortion.classes(&mut classes, 10);
            let values: Vec<u32> = values.into_iter().map(f32::to_bits).collect();
            let weights: Vec<u32> = weights(&faults.model(attempt, two()))
                .into_iter()
                .map(f32::to_bits)
                .collect();
            (values, classes, weights)
        };
        let faults = one(fault.clone(), 7);
        let forwards: Vec<_> = (AT..AT + steps).map(|t| what(&faults, t)).collect();
        let mut backwards: Vec<_> = (AT..AT + steps).rev().map(|t| what(&faults, t)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards, "{fault:?}");
        let random = matches!(
            fault,
            Fault::PoisonedBatch(_) | Fault::BitFlip(_) | Fault::LabelNoise(_)
        );
        let other = (8..20).any(|seed| what(&one(fault.clone(), seed), AT) != forwards[0]);
        assert_eq!(other, random, "{fault:?}");
    }
}

#[test]
fn every_fault_is_read_and_written_as_toml() {
    for fault in Fault::all(AT) {
        let text = toml::to_string(&fault).unwrap();
        assert_eq!(toml::from_str::<Fault>(&text).unwrap(), fault, "{text}");
        let kind = fault.name().split(' ').next().unwrap();
        assert!(text.contains(&format!("kind = \"{kind}\"")), "{text}");
        let extra = format!("{text}quux = 1\n");
        let error = toml::from_str::<Fault>(&extra).unwrap_err().to_string();
        assert!(error.contains("quux"), "{error}");
        // What is left out has the default.
        let value = if text.contains("value") {
            "value = \"nan\"\n"
        } else {
            ""
        };
        let short = format!("kind = \"{kind}\"\nat_step = {AT}\n{value}");
        let read = toml::from_str::<Fault>(&short).unwrap();
        assert_eq!(read.name().split(' ').next(), Some(kind));
        assert!(Faults::new(vec![read], 0).is_ok());
    }
    for text in [
        "kind = \"meteor\"\nat_step = 1",
        "kind = \"scaled_batch\"",
        "kind = \"scaled_batch\"\nat_step = -1",
        "at_step = 1",
    ] {
        assert!(toml::from_str::<Fault>(text).is_err(), "{text}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    for (text, expected) in [
        (
            "kind = \"scaled_batch\"\nat_step = 1\nsteps = 0",
            "scaled_batch.steps is 0; give at least 1",
        ),
        (
            "kind = \"scaled_batch\"\nat_step = 1\nfactor = nan",
            "scaled_batch.factor is NaN",
        ),
        (
            "kind = \"poisoned_batch\"\nvalue = \"inf\"\nat_step = 1\nsteps = 0",
            "poisoned_batch.steps",
        ),
        (
            "kind = \"rotated_labels\"\nat_step = 1\nby = 0",
            "rotated_labels.by is 0",
        ),
        (
            "kind = \"shifted_data\"\nat_step = 1\nsteps = 0",
            "shifted_data.steps",
        ),
        (
            "kind = \"shifted_data\"\nat_step = 1\nscale = inf",
            "shifted_data.scale is inf",
        ),
        (
            "kind = \"shifted_data\"\nat_step = 1\nshift = nan",
            "shifted_data.shift is NaN",
        ),
        (
            "kind = \"learning_rate_spike\"\nat_step = 1\nfactor = 0.0",
            "learning_rate_spike.factor is 0",
        ),
        (
            "kind = \"learning_rate_growth\"\nat_step = 1\nfactor = 1.0",
            "learning_rate_growth.factor is 1",
        ),
        (
            "kind = \"weight_growth\"\nat_step = 1\nfactor = inf",
            "weight_growth.factor is inf",
        ),
        (
            "kind = \"weight_growth\"\nat_step = 1\nsteps = 0",
            "weight_growth.steps",
        ),
        (
            "kind = \"label_noise\"\nat_step = 1\nsteps = 0",
            "label_noise.steps",
        ),
        (
            "kind = \"bit_flip\"\nat_step = 1\nbit = 32",
            "bit_flip.bit is 32; give a number from 0 to 31",
        ),
        (
            "kind = \"f16_overflow\"\nat_step = 1\nloss_scale = -1.0",
            "f16_overflow.loss_scale is -1",
        ),
    ] {
        let fault: Fault = toml::from_str(text).unwrap();
        let error = Faults::new(vec![fault], 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_fault_beyond_the_end_is_named() {
    let faults = one(Fault::ShiftedData(ShiftedData::at(AT)), 1);
    assert_eq!(faults.reached_within(AT + 1), Ok(()));
    assert_eq!(Faults::default().reached_within(0), Ok(()));
    let error = faults.reached_within(AT).unwrap_err();
    let expected = FaultError::NeverReached {
        fault: "shifted_data",
        at_step: AT,
        attempts: AT,
    };
    assert_eq!(error, expected);
    assert!(
        error
            .to_string()
            .contains(&format!("give a step below {AT}"))
    );
}

#[test]
fn a_parameter_that_is_not_there_is_named() {
    let named = |name: &str| {
        let fault = BitFlip {
            parameter: Some(name.into()),
            ..BitFlip::at(AT)
        };
        one(Fault::BitFlip(fault), 1)
    };
    assert_eq!(named("matrix").fits(&two()), Ok(()));
    assert_eq!(Faults::default().fits(&two()), Ok(()));
    let error = named("matrx").fits(&two()).unwrap_err().to_string();
    assert!(
        error.contains("`matrx` (did you mean `matrix`?)"),
        "{error}"
    );
    assert_eq!(weights(&named("matrx").model(AT, two())), weights(&two()));
}
