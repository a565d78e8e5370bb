//! The line between vanishing and exploding gradients, and this network beside it.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{Font, Line, MarkerSymbol, Mode};
use plotly::layout::{Annotation, AxisRange, AxisType};
use steadygrad::dynamics::{CriticalPoint, Criticality, PhaseDiagram};

use super::frame::{BLUE, HEIGHT, ORANGE, SOFT, axis, figure, layout, marker};
use super::series::on_log_axis;
use crate::number;

/// Beyond this ratio of weight scales a linear axis would press the line flat.
const FAR: f64 = 8.0;

pub(in crate::html) fn phase(diagram: &PhaseDiagram, network: Criticality) -> Markup {
    let line: Vec<Option<f64>> = diagram
        .critical_sigma_w
        .iter()
        .map(|sigma_w| on_log_axis(*sigma_w))
        .collect();
    let (sigma_b, sigma_w) = (network.mean_field.sigma_b(), network.mean_field.sigma_w());
    let seen = || line.iter().copied().flatten().chain(on_log_axis(sigma_w));
    let high = seen().reduce(f64::max).unwrap_or(1.0);
    let low = seen().reduce(f64::min).unwrap_or(1.0);
    let logarithmic = high / low > FAR;
    let right = diagram.sigma_b.iter().copied().fold(sigma_b, f64::max);

    // Where the axis ends, and the middle of what lies above and below the line's own middle.
    let middle = line.get(line.len() / 2).copied().flatten().unwrap_or(1.0);
    let scale = |value: f64| if logarithmic { value.log10() } else { value };
    let (bottom, top) = if logarithmic {
        (scale(low / 3.0), scale(3.0 * high))
    } else {
        (0.0, 1.3 * high)
    };
    let region = |text: &str, y: f64| {
        Annotation::new()
            .text(text)
            .show_arrow(false)
            .x(0.5 * right)
            .y(y)
            .font(Font::new().size(15).color(SOFT))
    };
    let mut y_axis = axis("weight scale sigma_w").range(AxisRange::new(bottom, top));
    if logarithmic {
        y_axis = y_axis.type_(AxisType::Log);
    }
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
    let critical = match network.critical {
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
    };
    figure(
        "plot-phase",
        &format!("Phase diagram of {}", diagram.activation.name()),
        &format!(
            "By mean-field theory. This network is at sigma_b = {}, sigma_w = {}; {critical}.",
            number::short(sigma_b),
            number::short(sigma_w),
        ),
        HEIGHT,
        layout()
            .x_axis(axis("bias scale sigma_b").range(AxisRange::new(-0.02 * right, 1.02 * right)))
            .y_axis(y_axis)
            .annotations(vec![
                region("gradients explode", 0.5 * (scale(middle) + top)),
                region("gradients vanish", 0.5 * (scale(middle) + bottom)),
            ]),
        traces,
    )
}
