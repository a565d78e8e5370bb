//! Tests what `steadygrad probe` prints and writes.

use steadygrad::dynamics::NumberFormat;
use steadygrad::measurements::UpdateRule;
use steadygrad::probe::{ProbeReport, Risk};
use steadygrad_report::{html, json, terminal};

use crate::html::own;
use crate::terminal::{assert_says, strip};
use crate::{fixture, probe_fixture as probes};

const PLOTS: [&str; 6] = [
    "plot-growth",
    "plot-layers",
    "plot-spectrum",
    "plot-phase",
    "plot-butterfly-weights",
    "plot-butterfly-inputs",
];

fn plain(report: &ProbeReport) -> String {
    strip(&terminal::probe(report))
}

#[test]
fn an_explosion_has_every_section() {
    let report = probes::exploding();
    let text = plain(&report);
    let forecast = report.forecast.as_ref().expect("it grows");
    let f16 = forecast.gradient[0];
    assert_eq!(f16.format, NumberFormat::F16);
    let f16_row = format!(
        "f16 {:.0} !",
        f16.overflows_at.expect("it overflows").ceil()
    );
    let weight_scale = report
        .measurements
        .criticality
        .expect("it has a theory")
        .weight_scale()
        .unwrap();
    let derivation = &report
        .first_remedy
        .as_ref()
        .expect("one")
        .derivation
        .formula;
    let lambda = report
        .measurements
        .spectrum
        .as_ref()
        .and_then(|s| s.lambda_1());
    let lambda = lambda.expect("exponents");
    let error = lambda.standard_error.expect("four samples");
    assert_says(
        &text,
        &[
            "digits-mlp explodes: ",
            "seed 11 · batch of 64 samples",
            "error[SG",
            "Risk: will training diverge?",
            "over 99% within 160 steps at the learning rate 0.1, unguarded",
            "sharpness over the largest stable",
            "Gradient norm through depth",
            "mean-field theory x2.12 per layer (ln = 0.752; once the signal has settled",
            &format!("lambda_1 {:.3} ± {error:.3} per layer", lambda.value),
            "8 of 8 exponents, 4 samples, 19 Jacobians, seed 7",
            "█▇▆▅▄▃▂▁",
            "layers that stretch the gradient most",
            &f16_row,
            "The network's present depth is 19 layers",
            &format!("multiply the repeated weights by {weight_scale:.3}"),
            "3; critical is 1.41, for relu",
            "depth scale 0.665 layers",
            "sharpness 4.71e9 ± 6.2e7",
            "the present one is above it",
            "backward signals 25% subnormal and 6.25% underflowed to zero",
            "weights' gradient 12.5% subnormal",
            "cost in time x1.5",
            "16 layers of 128 units on 64 rows took x3 the time when all signals were subnormal",
            "twins whose weights differ by 1e-8",
            "all weights moved by 1e-8 of their norm, in one random direction; 59 updates of 64 rows \
             in f64",
            "twins whose inputs differ by 2.4e-6",
            "each training input moved by 2.4e-6 of its norm, in its own random direction; 59 updates \
             of 64 rows in f32; the requested 1e-8 is below the round-off of f32",
            "40, measured",
            "Try first",
            derivation.split_whitespace().next().expect("a formula"),
        ],
    );
    for finding in &report.findings {
        assert_says(&text, &[&finding.code]);
    }
    assert_eq!(text.matches("error[").count(), 1);
    assert!(!text.contains("not measured"), "{text}");
}

#[test]
fn a_healthy_network_is_called_healthy() {
    let report = probes::healthy();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let text = plain(&report);
    assert_says(
        &text,
        &[
            "digits-mlp is healthy: its gradient changes by x0.9919 per layer",
            "the present one is within it",
            "the twins' weights do not separate measurably; still predictable at step 59",
        ],
    );
    for absent in ["error[", "Try first"] {
        assert!(!text.contains(absent), "{absent} in\n{text}");
    }
    // Only the explanation of the mark contains it.
    assert_eq!(text.matches('!').count(), 1, "{text}");
}

#[test]
fn an_unknown_optimizer_has_no_risk_and_adam_no_sharpness() {
    let mut report = probes::healthy();
    report.risk = None;
    assert!(!plain(&report).contains("Risk"));
    assert!(!html::probe(&report).contains("will training diverge"));
    report.setup.update_rule = Some(UpdateRule::Adam);
    report.measurements.sharpness = None;
    report.risk = Risk::of(
        &report.measurements,
        &report.setup,
        report.subject.parameters,
    );
    let said = [
        "update * gradient norm over the loss",
        "not measured: the sharpness bounds SGD's learning rate, not Adam's",
    ];
    assert_says(&plain(&report), &said);
    assert!(html::probe(&report).contains("will training diverge"));
}

#[test]
fn a_network_that_is_healthy_in_f32_may_overflow_f16() {
    let mut report = probes::exploding();
    report.findings.clear();
    report.risk = None;
    assert_says(
        &plain(&report),
        &["is healthy", "; but in f16 the gradient overflows after"],
    );
}

#[test]
fn the_headline_agrees_with_the_risk() {
    let with_risk = |mut report: ProbeReport, probability: f64| {
        let features = Vec::new();
        report.risk = Some(Risk {
            probability,
            features,
        });
        report
    };
    let risky = with_risk(probes::healthy(), 0.995);
    let text = plain(&risky);
    assert!(
        !risky.is_healthy() && !text.contains("is healthy"),
        "{text}"
    );
    assert_says(
        &text,
        &["digits-mlp will probably diverge: over 99% within 160 steps"],
    );
    let page = own(&html::probe(&risky)).to_owned();
    assert!(page.contains("will probably diverge") && !page.contains("headline good"));
    let safe = with_risk(probes::healthy(), 0.2);
    assert!(safe.is_healthy() && plain(&safe).contains("is healthy"));
    // A gradient may grow through depth in a run that will not diverge: both are said as such.
    let both = plain(&with_risk(probes::exploding(), 0.004));
    assert_says(
        &both,
        &[
            "digits-mlp has a gradient that explodes: ",
            "the run itself is not likely to diverge: under 1% within 160 steps",
        ],
    );
}

#[test]
fn through_time_a_single_sample_has_no_error() {
    let text = plain(&probes::through_time());
    assert_says(
        &text,
        &[
            "Gradient norm through time",
            "one in 3 time steps",
            "(error not known) per time step",
            "1 sample, 199 Jacobians",
            "not measured: 8 of 64 exponents are known",
            "time steps that stretch the gradient most",
            "each sequence's first input vector moved",
        ],
    );
}

#[test]
fn what_was_not_measured_is_named() {
    let report = probes::unmeasured();
    for text in [plain(&report), own(&html::probe(&report)).to_owned()] {
        assert_says(
            &text,
            &[
                "the growth of its gradient could not be measured",
                "not measured: the subject gives no stages",
                "not measured: the gradient has no growth rate",
                "not measured: there are no repeated layers",
                "not measured: the loss or a gradient overflowed",
                "not measured: this machine was not timed",
                "not measured: with so many parameters, training twins",
            ],
        );
        assert!(!text.contains("Worst") && !text.contains("plot-"));
    }
}

#[test]
fn odd_numbers_have_a_text_and_a_page() {
    for (odd, word) in [
        (f64::NAN, "NaN"),
        (f64::INFINITY, "∞"),
        (f64::NEG_INFINITY, "-∞"),
        (0.0, "0"),
        (-1.0, "-1"),
    ] {
        let report = probes::odd(odd);
        let lost = format!("a relative perturbation of {odd} makes no twin");
        let (text, page) = (plain(&report), html::probe(&report));
        assert_says(
            &text,
            &[
                &format!("sharpness {word}"),
                &format!("chi_1 {word}"),
                &lost,
            ],
        );
        let own = own(&page);
        assert!(
            own.contains(&format!("<dd>{word}, the smallest eigenvalue")),
            "{odd}"
        );
        assert!(own.contains(&lost), "{odd}");
        // A gap has no number; in JSON it is null.
        for line in own.lines().filter(|line| line.contains("Plotly.newPlot(")) {
            assert!(
                !line.contains("NaN") && !line.contains("inf"),
                "{odd}: {line}"
            );
        }
    }
    for odd in [f64::NAN, f64::INFINITY] {
        assert_says(
            &plain(&probes::odd(odd)),
            &["×××", "not finite from step 30 on"],
        );
    }
    assert_says(&plain(&probes::odd(f64::NAN)), &["NaN ± NaN"]);
}

#[test]
fn every_probe_survives_a_round_trip() {
    let all = [
        probes::exploding(),
        probes::healthy(),
        probes::through_time(),
        probes::unmeasured(),
        probes::odd(f64::NAN),
        probes::odd(f64::INFINITY),
        probes::odd(f64::NEG_INFINITY),
    ];
    for report in all {
        let text = json::probe(&report).expect("serialises");
        let back: ProbeReport = serde_json::from_str(&text).expect("reads back");
        assert_eq!(json::probe(&back).expect("serialises"), text);
    }
    let text = json::probe(&probes::odd(f64::NAN)).expect("serialises");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        value["measurements"]["spectrum"]["exponents"][0]["value"],
        "NaN"
    );
}

#[test]
fn lines_fit_the_page() {
    for report in [
        probes::exploding(),
        probes::healthy(),
        probes::through_time(),
        probes::unmeasured(),
        probes::odd(f64::NEG_INFINITY),
        probes::nasty(&"long".repeat(40)),
    ] {
        for line in plain(&report).lines() {
            // The place of a finding stays on one line, so that it can be copied.
            let place = line.trim_start().starts_with("-->");
            assert!(place || line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn names_cannot_steer_the_terminal() {
    let text = terminal::probe(&probes::nasty("a\u{1b}[2J\u{7}"));
    assert!(!text.contains("\u{1b}[2J") && !text.contains('\u{7}'));
}

#[test]
fn the_page_has_every_plot_and_every_number() {
    let report = probes::exploding();
    let page = html::probe(&report);
    assert!(page.len() > 4_000_000, "the plotting library is inside");
    let own = own(&page);
    for id in PLOTS {
        assert_eq!(own.matches(&format!("<div id=\"{id}\"")).count(), 1, "{id}");
        assert!(own.contains(&format!("Plotly.newPlot(\"{id}\"")), "{id}");
    }
    for fact in [
        "digits-mlp explodes",
        "gradients explode",
        "gradients vanish",
        "this network",
        "tolerance 0.1",
        "\"error_y\"",
        "Try first",
        "f16",
        "<details><summary>The study",
        "Content-Security-Policy",
    ] {
        assert!(own.contains(fact), "{fact}");
    }
    let mut fits = own.split("fit to the weights: ").skip(1);
    let fit = fits.next().and_then(|rest| rest.split('"').next());
    let (rate, error) = fit.and_then(|fit| fit.split_once(" ± ")).expect("an error");
    assert!(
        rate.starts_with("0.4") || rate.starts_with("0.39"),
        "{rate}"
    );
    assert!(error.ends_with(" per step"), "{error}");
    for finding in &report.findings {
        assert!(own.contains(&finding.code), "{}", finding.code);
    }
    for matrix in &report.measurements.weights {
        assert!(own.contains(&matrix.name), "{}", matrix.name);
    }
}

#[test]
fn the_page_asks_for_nothing_and_no_text_becomes_markup() {
    for report in [
        probes::exploding(),
        probes::unmeasured(),
        probes::odd(f64::NAN),
    ] {
        let own = own(&html::probe(&report));
        for request in [
            "http://", "https://", "//cdn", "src=", "@import", "url(", "fetch(",
        ] {
            assert!(!own.contains(request), "{request}");
        }
    }
    let own = own(&html::probe(&probes::nasty(fixture::NASTY)));
    assert!(own.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    assert!(!own.contains("<script>alert") && !own.contains(fixture::NASTY));
    assert_eq!(own.matches("<script").count(), PLOTS.len());
}

#[test]
#[ignore = "writes the documents to look at"]
fn dump() {
    let dir = std::env::temp_dir();
    for (name, report) in [
        ("exploding", probes::exploding()),
        ("healthy", probes::healthy()),
        ("time", probes::through_time()),
        ("unmeasured", probes::unmeasured()),
        ("odd", probes::odd(f64::NAN)),
    ] {
        let write = |ending: &str, text: String| {
            let path = dir.join(format!("probe-{name}.{ending}"));
            std::fs::write(path, text).expect("writable");
        };
        write("txt", plain(&report));
        write("html", html::probe(&report));
    }
}
