//! The growth in each layer's own Jacobian.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::HoverMode;
use steadygrad::dynamics::{Criticality, GrowthSpectrum, LayerGrowth};

use super::frame::{
    BLUE, HEIGHT, INK, ORANGE, figure, label, layout, marker, named_axis, zero_axis,
};

/// The growth layer by layer; the theory has one value for all layers.
pub(in crate::html) fn layers(spectrum: &GrowthSpectrum, theory: Option<Criticality>) -> Markup {
    let layers = &spectrum.layers;
    let unit = spectrum.axis.unit();
    let x: Vec<f64> = (0..layers.len()).map(|index| index as f64).collect();
    let names: Vec<String> = layers.iter().map(|layer| label(&layer.name)).collect();
    let curve = |name: &str, part: fn(&LayerGrowth) -> f64| {
        let finite = |value: f64| value.is_finite().then_some(value);
        let y: Vec<Option<f64>> = layers.iter().map(|layer| finite(part(layer))).collect();
        Scatter::new(x.clone(), y)
            .name(name)
            .mode(Mode::LinesMarkers)
            .text_array(names.clone())
    };
    let mut traces: Vec<Box<dyn plotly::Trace>> = vec![
        curve("worst direction (largest singular value)", |layer| {
            layer.log_largest
        })
        .marker(marker(ORANGE, 7))
        .line(Line::new().color(ORANGE)),
        curve("random direction", |layer| layer.log_growth)
            .marker(marker(BLUE, 6).symbol(MarkerSymbol::SquareOpen))
            .line(Line::new().color(BLUE).dash(DashType::Dash)),
    ];
    let theory = theory.map(|theory| theory.log_growth);
    if let (Some(theory), Some(last)) = (theory.filter(|one| one.is_finite()), x.last()) {
        traces.push(
            Scatter::new(vec![0.0, *last], vec![theory; 2])
                .name("mean-field theory, random direction")
                .mode(Mode::Lines)
                .line(Line::new().color(INK).dash(DashType::Dot).width(1.5)),
        );
    }
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    figure(
        "plot-layers",
        &format!("Growth of each {unit}"),
        &format!(
            "Log growth of the gradient in each {unit}'s own Jacobian: above 0 the gradient grows, \
             below 0 it shrinks. Gaps are not finite."
        ),
        HEIGHT,
        layout()
            .hover_mode(HoverMode::XUnified)
            .x_axis(named_axis(&format!("{unit}, in forward order"), &names))
            .y_axis(zero_axis("ln growth")),
        traces,
    )
}
