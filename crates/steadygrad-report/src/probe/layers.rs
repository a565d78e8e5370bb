use steadygrad::dynamics::GrowthSpectrum;
use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// How many of the worst layers are named.
const WORST: usize = 3;

/// The layers that stretch, or shrink, most; `None` when no Jacobian was measured by itself.
pub(crate) fn layers(report: &ProbeReport) -> Option<Section> {
    let spectrum = report.measurements.spectrum.as_ref()?;
    let worst = spectrum.worst_layers(WORST);
    let unit = spectrum.axis.unit();
    if worst.is_empty() {
        return None;
    }
    let rows = worst
        .into_iter()
        .map(|layer| {
            let factors = [layer.log_largest, layer.log_growth, layer.log_smallest];
            let factors = factors.map(number::exponential);
            std::iter::once(layer.name.clone()).chain(factors).collect()
        })
        .collect();
    let header = [unit, "largest", "random direction", "smallest"];
    let title = if spectrum.shrinks() {
        format!("{unit}s that shrink the gradient most")
    } else {
        format!("{unit}s that stretch the gradient most")
    };
    Some(Section::new(title).table(&header, rows).note(format!(
        "Singular values of each {unit}'s own Jacobian, geometric means over {}. In a random \
         direction they differ from {unit} to {unit} by {} (standard deviation of the logarithm).",
        number::count(spectrum.layer_samples as u64, "sample"),
        number::short(spread(spectrum)),
    )))
}

/// Standard deviation over the layers of `ln` growth in a random direction: the error of their
/// mean times the root of their number.
fn spread(spectrum: &GrowthSpectrum) -> f64 {
    let error = spectrum
        .mean_log_growth()
        .and_then(|mean| mean.standard_error);
    error.map_or(f64::NAN, |error| {
        error * (spectrum.layers.len() as f64).sqrt()
    })
}
