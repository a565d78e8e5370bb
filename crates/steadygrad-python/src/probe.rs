//! Builds the report on the measurements of `steadygrad.torch.probe`. The core has the rules, and
//! `steadygrad-report` has the words.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use steadygrad::cure::{Goal, SubjectSummary};
use steadygrad::dynamics::{
    Activation, Axis, Block, GradientSize, GrowthProfile, GrowthSamples, GrowthSpectrum,
    JacobianProduct, ProductSettings,
};
use steadygrad::measurements::{
    MatrixRole, Measurements, Sharpness, TrainingSetup, UpdateRule, WeightMatrix,
};
use steadygrad::probe::{GrowthForecast, ProbeReport as Report, Risk, Subnormals};

/// Name, role, fan-in, fan-out, Frobenius norm and spectral norm of a weight matrix.
type WeightRow = (String, String, usize, usize, f64, f64);

/// The measurements as plain numbers, with the core's names.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Measured {
    name: String,
    description: String,
    parameters: usize,
    seed: u64,
    batch_size: usize,
    learning_rate: f64,
    momentum: f64,
    /// `None` if the optimizer is neither SGD nor Adam.
    update_rule: Option<String>,
    loss: f64,
    input_rms: f64,
    through_time: bool,
    /// Name, RMS of the activation, then norm, RMS and largest value of the gradient.
    points: Vec<(String, f64, f64, f64, f64)>,
    /// For each sample, the square factors of the product of Jacobians, column by column. They are
    /// the Jacobians, or the triangular factors for a few directions.
    factors: Vec<Vec<Vec<f64>>>,
    failed_samples: usize,
    /// The number of columns of each factor.
    vectors: usize,
    /// The number of requested exponents, out of `width`.
    leading: usize,
    width: usize,
    normalized: bool,
    /// The activation of a plain chain of layers, by name. `None` for any other model.
    activation: Option<String>,
    bias_std: f64,
    /// Name, role, fan-in, fan-out, Frobenius norm and spectral norm.
    weights: Vec<WeightRow>,
    weight_norm: f64,
    global_norm: f64,
    subnormal_share: f64,
    /// Mean diagonal of the layers' Jacobians; `None` through time and with normalisation.
    skip_share: Option<f64>,
    signal_share: f64,
    signal_lost: f64,
    /// Largest and smallest eigenvalue, residual, iterations, rows and relative step.
    sharpness: Option<(f64, f64, f64, usize, usize, f64)>,
    seconds: f64,
}

/// The report of a probe, as `steadygrad probe` shows it.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct ProbeReport(Report);

#[pymethods]
impl ProbeReport {
    #[new]
    fn new(measured: Measured) -> PyResult<Self> {
        Ok(Self(report(measured)?))
    }

    /// Returns the report as JSON, with every number.
    fn json(&self) -> PyResult<String> {
        steadygrad_report::json::probe(&self.0)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Returns the report for a terminal, with or without ANSI styles.
    fn text(&self, styled: bool) -> String {
        worded(steadygrad_report::terminal::probe(&self.0), styled)
    }

    /// Returns the report as one HTML page.
    fn html(&self) -> String {
        steadygrad_report::html::probe(&self.0)
    }
}

/// Returns a report's text with or without ANSI styles.
pub(crate) fn worded(text: String, styled: bool) -> String {
    if styled {
        text
    } else {
        anstream::adapter::strip_str(&text).to_string()
    }
}

fn unknown(what: &str, found: &str) -> PyErr {
    PyValueError::new_err(format!("there is no {what} `{found}`"))
}

/// A model, its training setup and its measurements, in the core's types.
pub(crate) struct Case {
    pub(crate) subject: SubjectSummary,
    pub(crate) setup: TrainingSetup,
    pub(crate) measurements: Measurements,
    /// Whether the layers are plain, so that mean-field theory describes them.
    pub(crate) plain: bool,
    pub(crate) seed: u64,
    pub(crate) batch_size: usize,
    subnormals: Subnormals,
    seconds: f64,
}

fn report(measured: Measured) -> PyResult<Report> {
    let case = case(measured)?;
    let (findings, first_remedy) = Report::conclude(&case.measurements, &case.setup);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").into(),
        forecast: GrowthForecast::new(&case.measurements),
        risk: Risk::of(&case.measurements, &case.setup, case.subject.parameters),
        subject: case.subject,
        seed: case.seed,
        batch_size: case.batch_size,
        setup: case.setup,
        study: None,
        phase_diagram: None,
        subnormals: case.subnormals,
        butterfly: Vec::new(),
        findings,
        first_remedy,
        measurements: case.measurements,
        seconds: case.seconds,
    })
}

/// Converts the measurements of a model into a [`Case`].
pub(crate) fn case(mut measured: Measured) -> PyResult<Case> {
    let axis = if measured.through_time {
        Axis::Time
    } else {
        Axis::Depth
    };
    let steps = measured.points.len();
    let activation = measured
        .activation
        .as_deref()
        .map(|name| Activation::from_name(name).ok_or_else(|| unknown("activation", name)))
        .transpose()?;
    let update_rule = measured
        .update_rule
        .as_deref()
        .map(update_rule)
        .transpose()?;
    let mut measurements = measurements(&mut measured, axis, activation)?;
    if update_rule == Some(UpdateRule::Adam) {
        // The stability limit from the sharpness holds for SGD only.
        measurements.sharpness = None;
    }
    if activation.is_some() && !measured.normalized {
        measurements.criticality = measurements.mean_field(measured.bias_std);
    }
    Ok(Case {
        setup: TrainingSetup {
            learning_rate: measured.learning_rate,
            momentum: measured.momentum,
            update_rule,
            depth: (axis == Axis::Depth).then_some(steps.max(1)),
            sequence_length: (axis == Axis::Time).then_some(steps.max(1)),
        },
        measurements,
        plain: activation.is_some(),
        seed: measured.seed,
        batch_size: measured.batch_size,
        subnormals: Subnormals {
            gradient_share: measured.subnormal_share,
            signal_share: measured.signal_share,
            signal_lost: measured.signal_lost,
            slowdown: None,
        },
        seconds: measured.seconds,
        subject: subject(measured),
    })
}

/// Describes the model. A probe has no goal and no data beyond its batch.
fn subject(measured: Measured) -> SubjectSummary {
    SubjectSummary {
        name: measured.name,
        description: measured.description,
        metric: "loss".into(),
        goal: Goal {
            metric: f64::NAN,
            trivial: f64::NAN,
        },
        training_samples: 0,
        validation_samples: 0,
        parameters: measured.parameters,
    }
}

/// Converts the measurements into the core's types. Takes the lists out of `measured`.
fn measurements(
    measured: &mut Measured,
    axis: Axis,
    activation: Option<Activation>,
) -> PyResult<Measurements> {
    let spectrum = spectrum(measured, axis)?;
    let points = std::mem::take(&mut measured.points).into_iter();
    let growth = GrowthProfile::new(
        axis,
        points.map(|(name, activation_rms, norm, rms, max_abs)| {
            let gradient = GradientSize { norm, rms, max_abs };
            (name, activation_rms, gradient)
        }),
    );
    let weights = std::mem::take(&mut measured.weights).into_iter();
    Ok(Measurements {
        loss: measured.loss,
        input_rms: measured.input_rms,
        growth,
        spectrum,
        criticality: None,
        normalized: measured.normalized,
        activation: activation.unwrap_or(Activation::Linear),
        weights: weights.map(weight_matrix).collect::<PyResult<_>>()?,
        weight_norm: measured.weight_norm,
        global_norm: measured.global_norm,
        subnormal_share: measured.subnormal_share,
        skip_share: measured.skip_share.filter(|_| activation.is_none()),
        sharpness: measured.sharpness.map(
            |(lambda_max, lambda_min, residual, iterations, rows, relative_step)| Sharpness {
                lambda_max,
                lambda_min,
                residual,
                iterations,
                rows,
                relative_step,
            },
        ),
    })
}

fn weight_matrix(
    (name, role, fan_in, fan_out, frobenius_norm, spectral_norm): WeightRow,
) -> PyResult<WeightMatrix> {
    Ok(WeightMatrix {
        role: match role.as_str() {
            "input" => MatrixRole::Input,
            "hidden" => MatrixRole::Hidden,
            "recurrent" => MatrixRole::Recurrent,
            "output" => MatrixRole::Output,
            other => return Err(unknown("role", other)),
        },
        name,
        fan_in,
        fan_out,
        frobenius_norm,
        spectral_norm,
    })
}

fn update_rule(name: &str) -> PyResult<UpdateRule> {
    match name {
        "sgd" => Ok(UpdateRule::Sgd),
        "adam" => Ok(UpdateRule::Adam),
        other => Err(unknown("update rule", other)),
    }
}

/// Computes the growth spectrum from the factors. Triangular factors cover only some directions and
/// give a lower bound.
fn spectrum(measured: &Measured, axis: Axis) -> PyResult<Option<GrowthSpectrum>> {
    let (vectors, leading, mut products) = (measured.vectors, measured.leading, Vec::new());
    let mut failed = measured.failed_samples;
    for factors in &measured.factors {
        let blocks: Option<Vec<Block>> = factors
            .iter()
            .map(|columns| Block::from_columns(vectors, vectors, columns.clone()))
            .collect();
        let blocks = blocks.ok_or_else(|| PyValueError::new_err("a factor is not square"))?;
        let settings = ProductSettings::default()
            .with_vectors(leading)
            .with_seed(measured.seed);
        match JacobianProduct::of_factors(&blocks, settings) {
            Ok(product) => products.push(JacobianProduct {
                complete: leading == measured.width,
                lower_bound: vectors < measured.width,
                ..product
            }),
            Err(_) => failed += 1,
        }
    }
    Ok(GrowthSpectrum::from_samples(&GrowthSamples {
        axis,
        names: &[],
        products: &products,
        layers: &[],
        failed_samples: failed,
        width: measured.width,
        seed: measured.seed,
    }))
}
