//! The PyTorch code that is prescribed is, letter by letter, the code that
//! `python/tests/test_prescribed.py` runs.

use steadygrad::cure::Prescription;
use steadygrad::remedy::Remedy;

#[test]
fn the_prescribed_code_is_the_tested_code() {
    macro_rules! tested {
        ($file:literal) => {
            (
                $file,
                include_str!(concat!("../../../python/tests/prescribed/", $file)),
            )
        };
    }
    let cases = [
        (
            Remedy::ClipGlobalNorm { max_norm: 2.5 },
            tested!("clip_global_norm.py"),
        ),
        (
            Remedy::CapSpectralNorm {
                max_spectral_norm: 4.0 / 3.0,
            },
            tested!("cap_spectral_norm.py"),
        ),
        (
            Remedy::CriticalInit {
                gain: std::f64::consts::SQRT_2,
                input_rms: 7.5,
            },
            tested!("critical_init.py"),
        ),
        (
            Remedy::ScaleResidual { scale: 0.25 },
            tested!("scale_residual.py"),
        ),
        (Remedy::RmsNorm { every: 3 }, tested!("rms_norm.py")),
        (Remedy::ReduceDepth { depth: 5 }, tested!("reduce_depth.py")),
        (
            Remedy::TruncateBptt { time_steps: 4 },
            tested!("truncate_bptt.py"),
        ),
        (
            Remedy::LowerLearningRate {
                learning_rate: 1.25e-5,
            },
            tested!("lower_learning_rate.py"),
        ),
    ];
    for (remedy, (file, tested)) in cases {
        let prescribed = Prescription::new("x".into(), &remedy, None).pytorch;
        assert!(
            prescribed == tested,
            "prescribed/{file} is not what is prescribed now:\n{prescribed}"
        );
    }
}
