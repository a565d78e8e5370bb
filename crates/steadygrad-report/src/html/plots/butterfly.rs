//! How two almost equal trainings separate.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::HoverMode;
use steadygrad::dynamics::{Butterfly, Parting, Separation, SeparationStep};
use steadygrad::probe::Perturbed;

use super::curve::on_log_axis;
use super::frame::{BLUE, INK, ORANGE, SOFT, axis, figure, layout, log_axis, marker};
use crate::{number, probe};

/// Taller than most plots: its legend takes two rows.
const HEIGHT: usize = 440;
/// Longest curve; a longer one is thinned.
const LONGEST: usize = 500;
const GREEN: &str = "#009E73";

pub(in crate::html) fn butterfly(perturbed: Perturbed, found: &Butterfly) -> Markup {
    let stride = found.steps.len().div_ceil(LONGEST).max(1);
    let shown: Vec<&SeparationStep> = found.steps.iter().step_by(stride).collect();
    let mut traces = separations(found, &shown);
    traces.extend(fits(found));
    traces.extend(tolerance(found, &shown));
    let drawn = || {
        let all = found.steps.iter().flat_map(|step| {
            [step.loss, step.weights, step.gradients].map(|apart| apart.relative())
        });
        let tolerance = found.settings.tolerance;
        all.chain([tolerance]).filter_map(on_log_axis)
    };
    let mut caption = String::from(
        "Relative separation of two trainings, update by update. A straight rise is \
         exponential. Past the tolerance, one training no longer predicts the other. Gaps are \
         zero or not finite.",
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

/// The separation of losses, weights and gradients.
fn separations(found: &Butterfly, shown: &[&SeparationStep]) -> Vec<Box<dyn plotly::Trace>> {
    let curve = |parting: &Parting,
                 part: fn(&SeparationStep) -> Separation,
                 color: &'static str,
                 symbol: MarkerSymbol| {
        let x: Vec<f64> = shown.iter().map(|step| step.step as f64).collect();
        let y: Vec<Option<f64>> = shown
            .iter()
            .map(|step| on_log_axis(part(step).relative()))
            .collect();
        let trace = Scatter::new(x, y)
            .name(probe::series_name(parting.series))
            .mode(Mode::LinesMarkers)
            .marker(marker(color, 5).symbol(symbol))
            .line(Line::new().color(color).width(1.5));
        trace as Box<dyn plotly::Trace>
    };
    let [square, diamond] = [MarkerSymbol::SquareOpen, MarkerSymbol::DiamondOpen];
    vec![
        curve(&found.loss, |step| step.loss, BLUE, square),
        curve(
            &found.weights,
            |step| step.weights,
            ORANGE,
            MarkerSymbol::Circle,
        ),
        curve(&found.gradients, |step| step.gradients, GREEN, diamond),
    ]
}

/// The fitted exponential of each separation that has one.
fn fits(found: &Butterfly) -> impl Iterator<Item = Box<dyn plotly::Trace>> {
    let partings = [&found.loss, &found.weights, &found.gradients];
    partings.into_iter().filter_map(|parting| {
        let fit = parting.exponent.as_ref().ok()?;
        let ends = [fit.first_step as f64, fit.last_step as f64];
        let y = ends.map(|step| on_log_axis((fit.log_start + fit.rate * step).exp()));
        let trace = Scatter::new(ends.to_vec(), y.to_vec())
            .name(format!(
                "fit to the {}: {} per step",
                probe::series_name(parting.series),
                number::with_error(fit.rate, Some(fit.standard_error))
            ))
            .mode(Mode::Lines)
            .line(Line::new().color(INK).dash(DashType::Dot).width(2.5));
        Some(trace as Box<dyn plotly::Trace>)
    })
}

/// The separation up to which one training predicts the other.
fn tolerance(found: &Butterfly, shown: &[&SeparationStep]) -> Option<Box<dyn plotly::Trace>> {
    let tolerance = found.settings.tolerance;
    let ends = [shown.first()?, shown.last()?].map(|step| step.step as f64);
    Some(
        Scatter::new(ends.to_vec(), vec![tolerance; 2])
            .name(format!("tolerance {}", number::short(tolerance)))
            .mode(Mode::Lines)
            .line(Line::new().color(SOFT).dash(DashType::Dash).width(1.5)),
    )
}
