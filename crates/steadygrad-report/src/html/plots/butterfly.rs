//! How two almost equal trainings part.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::HoverMode;
use steadygrad::dynamics::{Butterfly, Parting, Separation, SeparationStep};
use steadygrad::probe::Perturbed;

use super::frame::{BLUE, INK, ORANGE, SOFT, axis, figure, layout, log_axis, marker};
use super::series::on_log_axis;
use crate::{number, probe};

/// Taller than most: its legend takes two rows.
const HEIGHT: usize = 440;
/// Longest curve; a longer one is thinned.
const LONGEST: usize = 500;
const GREEN: &str = "#009E73";

pub(in crate::html) fn butterfly(perturbed: Perturbed, found: &Butterfly) -> Markup {
    let stride = found.steps.len().div_ceil(LONGEST).max(1);
    let shown = || found.steps.iter().step_by(stride);
    let x: Vec<f64> = shown().map(|step| step.step as f64).collect();
    let curve = |parting: &Parting,
                 part: fn(&SeparationStep) -> Separation,
                 color: &'static str,
                 symbol: MarkerSymbol| {
        let y: Vec<Option<f64>> = shown()
            .map(|step| on_log_axis(part(step).relative()))
            .collect();
        let trace = Scatter::new(x.clone(), y)
            .name(probe::series_name(parting.series))
            .mode(Mode::LinesMarkers)
            .marker(marker(color, 5).symbol(symbol))
            .line(Line::new().color(color).width(1.5));
        trace as Box<dyn plotly::Trace>
    };
    let mut traces = vec![
        curve(
            &found.loss,
            |step| step.loss,
            BLUE,
            MarkerSymbol::SquareOpen,
        ),
        curve(
            &found.weights,
            |step| step.weights,
            ORANGE,
            MarkerSymbol::Circle,
        ),
        curve(
            &found.gradients,
            |step| step.gradients,
            GREEN,
            MarkerSymbol::DiamondOpen,
        ),
    ];
    for parting in [&found.loss, &found.weights, &found.gradients] {
        let Ok(fit) = &parting.exponent else { continue };
        let ends = [fit.first_step as f64, fit.last_step as f64];
        let y = ends.map(|step| on_log_axis((fit.log_start + fit.rate * step).exp()));
        traces.push(
            Scatter::new(ends.to_vec(), y.to_vec())
                .name(format!(
                    "fit to the {}: {} per step",
                    probe::series_name(parting.series),
                    number::with_error(fit.rate, Some(fit.standard_error))
                ))
                .mode(Mode::Lines)
                .line(Line::new().color(INK).dash(DashType::Dot).width(2.5)),
        );
    }
    let tolerance = found.settings.tolerance;
    if let (Some(first), Some(last)) = (x.first(), x.last()) {
        traces.push(
            Scatter::new(vec![*first, *last], vec![tolerance; 2])
                .name(format!("tolerance {}", number::short(tolerance)))
                .mode(Mode::Lines)
                .line(Line::new().color(SOFT).dash(DashType::Dash).width(1.5)),
        );
    }
    let drawn = || {
        let all = found.steps.iter().flat_map(|step| {
            [step.loss, step.weights, step.gradients].map(|apart| apart.relative())
        });
        all.chain([tolerance]).filter_map(on_log_axis)
    };
    let mut caption = String::from(
        "Relative separation of two trainings, update by update. A straight rise is \
         exponential; past the tolerance the one no longer predicts the other. Gaps are zero or \
         not finite.",
    );
    if stride > 1 {
        caption.push_str(&format!(" One in {stride} steps is drawn."));
    }
    figure(
        &format!("plot-butterfly-{}", probe::perturbed(perturbed)),
        &format!("Twins whose {} differ", probe::perturbed(perturbed)),
        &caption,
        HEIGHT,
        layout()
            .hover_mode(HoverMode::XUnified)
            .x_axis(axis("step"))
            .y_axis(log_axis(
                "relative separation (log scale)",
                drawn().reduce(f64::min),
                drawn().reduce(f64::max),
            )),
        traces,
    )
}
