use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use steadygrad_burn::gradient_values;

use super::backward::below_normal;
use super::{Inputs, RnnConfig};
use crate::random::{Purpose, generator, normal_values};
use crate::{Structure, Tape};

/// Compares the scan with Burn's autodiff of the unrolled network: plain, truncated, normalised.
#[test]
fn the_scan_agrees_with_autodiff() {
    let device = Device::flex().autodiff();
    let sequences: Vec<Vec<u8>> = (0..5u8)
        .map(|b| (0..12u8).map(|t| (b * 7 + t * 3) % 8).collect())
        .collect();
    let rows: Vec<&[u8]> = sequences.iter().map(Vec::as_slice).collect();
    let classes = [0u8, 1, 2, 3, 1];
    let config = RnnConfig {
        symbols: 8,
        hidden_size: 6,
        classes: 4,
        init_std: 0.5,
    };
    for structure in [
        Structure::default(),
        Structure {
            bptt_steps: Some(4),
            ..Structure::default()
        },
        Structure {
            rms_norm_every: Some(1),
            ..Structure::default()
        },
        Structure {
            rms_norm_every: Some(1),
            bptt_steps: Some(1),
            ..Structure::default()
        },
        Structure {
            bptt_steps: Some(99),
            ..Structure::default()
        },
    ] {
        let model = config.init(&structure, &mut generator(1, Purpose::Weights), &device);
        let scanned = model.scan(&rows, &classes, &mut Tape::off());
        let targets: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [5]), &device);
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(model.logits(&rows), targets);
        assert!((scanned.loss - f64::from(loss.clone().into_scalar::<f32>())).abs() < 1e-5);
        let expected = GradientsParams::from_grads(loss.backward(), &model);
        let (ours, theirs) = (
            gradient_values(&model, &scanned.gradients),
            gradient_values(&model, &expected),
        );
        assert_eq!(ours.len(), theirs.len(), "{structure:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(theirs.iter().any(|value| *value != 0.0), "{structure:?}");
            for (a, b) in ours.iter().zip(theirs) {
                assert!(
                    (a - b).abs() < 1e-5 + 1e-4 * b.abs(),
                    "{structure:?}: {a} and {b}"
                );
            }
        }
    }
}

/// Compares the scan of input vectors with autodiff of the unrolled network.
#[test]
fn any_inputs_give_the_gradients_of_autodiff() {
    const STEPS: usize = 7;
    let device = Device::flex().autodiff();
    let config = RnnConfig {
        symbols: 3,
        hidden_size: 5,
        classes: 4,
        init_std: 0.5,
    };
    let mut rng = generator(2, Purpose::Weights);
    let model = config.init(&Structure::default(), &mut rng, &device);
    let classes = [2u8, 0];
    let values = normal_values(2 * STEPS * 3, 2.0, &mut rng);
    let inputs = Inputs::Vectors {
        values: &values,
        batch: 2,
        steps: STEPS,
        symbols: 3,
    };
    let scanned = model.scan_inputs(inputs, &classes, &mut Tape::off());

    let all = Tensor::<3>::from_data(TensorData::new(values.clone(), [2, STEPS, 3]), &device);
    let mut state = Tensor::<2>::zeros([2, 5], &device);
    for t in 0..STEPS {
        let input = all.clone().narrow(1, t, 1).reshape([2, 3]);
        state = model.advance(input.matmul(model.input.val()), state);
    }
    let logits = state.matmul(model.output.val()) + model.output_bias.val().unsqueeze();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(vec![2i64, 0], [2]), &device);
    let loss = CrossEntropyLossConfig::new()
        .init(&device)
        .forward(logits, targets);
    assert!((scanned.loss - f64::from(loss.clone().into_scalar::<f32>())).abs() < 1e-5);
    let expected = GradientsParams::from_grads(loss.backward(), &model);
    let ours = gradient_values(&model, &scanned.gradients).concat();
    let theirs = gradient_values(&model, &expected).concat();
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() < 1e-5 + 1e-4 * b.abs(), "{a} and {b}");
    }
}

#[test]
fn signals_are_subnormal_or_lost_only_where_they_have_faded() {
    let least = f32::MIN_POSITIVE;
    // Two sequences of two units: the second unit of the second is saturated.
    let states = [0.0, 0.0, 0.0, 1.0];
    let mut fading = [false, false];
    let mut count = |d: [f32; 4]| below_normal(&d, &states, 2, &mut fading);
    let found = count([0.0, 1.0, least / 2.0, least / 2.0]);
    assert_eq!((found.values, found.subnormal, found.lost), (4, 1, 0));
    let found = count([0.0, 0.0, 0.0, 0.0]);
    assert_eq!((found.values, found.subnormal, found.lost), (4, 0, 1));
    let found = count([f32::NAN, f32::INFINITY, f32::NAN, least]);
    assert_eq!((found.subnormal, found.lost), (0, 0));
}

#[test]
fn a_model_with_non_finite_logits_classifies_nothing() {
    let device = Device::flex().autodiff();
    let config = RnnConfig {
        symbols: 8,
        hidden_size: 6,
        classes: 4,
        init_std: f64::NAN,
    };
    let model = config.init(
        &Structure::default(),
        &mut generator(1, Purpose::Weights),
        &device,
    );
    assert_eq!(model.classify(&[&[0, 1, 2]]), None);
}
