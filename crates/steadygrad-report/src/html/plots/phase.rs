//! The line between vanishing and exploding gradients, and this network beside it.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{Font, Line, MarkerSymbol, Mode};
use plotly::layout::{Annotation, Axis, AxisRange, AxisType};
use steadygrad::dynamics::{CriticalPoint, Criticality, PhaseDiagram};

use super::curve::on_log_axis;
use super::frame::{BLUE, HEIGHT, ORANGE, SOFT, axis, figure, layout, marker};
use crate::number;

/// Above this ratio of weight scales the axis is logarithmic: a linear one would flatten the line.
const FAR: f64 = 8.0;

pub(in crate::html) fn phase(diagram: &PhaseDiagram, network: Criticality) -> Markup {
    let line: Vec<Option<f64>> = diagram
        .critical_sigma_w
        .iter()
        .map(|sigma_w| on_log_axis(*sigma_w))
        .collect();
    let (sigma_b, sigma_w) = (network.mean_field.sigma_b(), network.mean_field.sigma_w());
    let right = diagram.sigma_b.iter().copied().fold(sigma_b, f64::max);
    let scale = Scale::of(&line, sigma_w);
    // Each region's name stands halfway between the end of the axis and the middle of the line.
    let middle = line.get(line.len() / 2).copied().flatten().unwrap_or(1.0);
    let name = |text: &str, end: f64| {
        Annotation::new()
            .text(text)
            .show_arrow(false)
            .x(0.5 * right)
            .y(0.5 * (scale.place(middle) + end))
            .font(Font::new().size(15).color(SOFT))
    };
    let names = vec![
        name("gradients explode", scale.top),
        name("gradients vanish", scale.bottom),
    ];
    let traces: Vec<Box<dyn plotly::Trace>> = vec![
        Scatter::new(diagram.sigma_b.clone(), line)
            .name("where chi_1 passes, or jumps over, 1")
            .mode(Mode::Lines)
            .line(Line::new().color(BLUE).width(2.5)),
        Scatter::new(vec![sigma_b], vec![on_log_axis(sigma_w)])
            .name("this network")
            .mode(Mode::Markers)
            .marker(marker(ORANGE, 13).symbol(MarkerSymbol::Diamond)),
    ];
    figure(
        "plot-phase",
        &format!("Phase diagram of {}", diagram.activation.name()),
        &format!(
            "By mean-field theory. This network is at sigma_b = {}, sigma_w = {}; {}.",
            number::short(sigma_b),
            number::short(sigma_w),
            critical(network.critical)
        ),
        HEIGHT,
        layout()
            .x_axis(axis("bias scale sigma_b").range(AxisRange::new(-0.02 * right, 1.02 * right)))
            .y_axis(scale.axis())
            .annotations(names),
        traces,
    )
}

/// The axis of weight scales: linear or logarithmic, with its ends as Plotly counts them.
struct Scale {
    logarithmic: bool,
    bottom: f64,
    top: f64,
}

impl Scale {
    /// Has room for the critical line and for this network.
    fn of(line: &[Option<f64>], sigma_w: f64) -> Self {
        let seen = || line.iter().copied().flatten().chain(on_log_axis(sigma_w));
        let high = seen().reduce(f64::max).unwrap_or(1.0);
        let low = seen().reduce(f64::min).unwrap_or(1.0);
        let logarithmic = high / low > FAR;
        let (bottom, top) = if logarithmic {
            ((low / 3.0).log10(), (3.0 * high).log10())
        } else {
            (0.0, 1.3 * high)
        };
        Self {
            logarithmic,
            bottom,
            top,
        }
    }

    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            value.log10()
        } else {
            value
        }
    }

    fn axis(&self) -> Axis {
        let axis = axis("weight scale sigma_w").range(AxisRange::new(self.bottom, self.top));
        if self.logarithmic {
            axis.type_(AxisType::Log)
        } else {
            axis
        }
    }
}

fn critical(point: CriticalPoint) -> String {
    match point {
        CriticalPoint::Continuous { sigma_w, .. } => {
            format!("the critical sigma_w there is {}", number::short(sigma_w))
        }
        CriticalPoint::Jump {
            sigma_w,
            below,
            above,
        } => format!(
            "no sigma_w there is critical: at {} chi_1 jumps from {} to {}",
            number::short(sigma_w),
            number::short(below),
            number::short(above)
        ),
    }
}
