use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// How many of the worst are named.
const WORST: usize = 3;

/// The layers that stretch most; `None` when no Jacobian was measured by itself.
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
            let factors = [
                layer.jacobian.log_largest,
                layer.jacobian.log_growth,
                layer.jacobian.log_smallest,
            ];
            let factors = factors.map(number::exponential);
            std::iter::once(layer.name.clone()).chain(factors).collect()
        })
        .collect();
    let header = [unit, "largest", "random direction", "smallest"];
    Some(
        Section::new(format!("Worst {unit}s"))
            .table(&header, rows)
            .note(format!(
                "Singular values of each {unit}'s own Jacobian, geometric means over {}.",
                number::count(spectrum.samples as u64, "sample")
            )),
    )
}
