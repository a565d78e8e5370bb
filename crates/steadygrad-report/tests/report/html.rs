use steadygrad_report::html;

use crate::fixture;

const PLOTS: [&str; 5] = [
    "plot-growth",
    "plot-baseline",
    "plot-remedies",
    "plot-losses",
    "plot-seeds",
];

/// The page without the embedded plotting library.
pub(crate) fn own(page: &str) -> String {
    let start = page.find("<script").expect("the library");
    let end = start + page[start..].find("</script>").expect("its end");
    format!("{}{}", &page[..start], &page[end..])
}

#[test]
fn a_cure_has_every_section_and_every_plot() {
    let report = fixture::cured();
    let page = html::cure(&report);
    assert!(page.len() > 4_000_000, "the plotting library is inside");
    let own = own(&page);
    for id in PLOTS {
        assert_eq!(own.matches(&format!("<div id=\"{id}\"")).count(), 1, "{id}");
        assert!(own.contains(&format!("Plotly.newPlot(\"{id}\"")), "{id}");
    }
    for fact in [
        "<html lang=\"en\">",
        "digits-mlp explodes",
        "3 of 3",
        "0.964",
        "step 3, 3 steps after the first detection",
        "first detection, step 0",
        "<ins>+gain = 1.4142",
        "<details><summary>The study",
        "within one standard error",
        "Content-Security-Policy",
    ] {
        assert!(own.contains(fact), "{fact}");
    }
    for finding in &report.findings {
        assert!(own.contains(&finding.code), "{}", finding.code);
    }
    assert!(!page.contains("MathJax-script"));
}

#[test]
fn the_page_asks_for_nothing() {
    for report in [fixture::cured(), fixture::interrupted(), fixture::empty()] {
        let own = own(&html::cure(&report));
        for request in [
            "http://", "https://", "//cdn", "src=", "@import", "url(", "fetch(",
        ] {
            assert!(!own.contains(request), "{request}");
        }
    }
}

#[test]
fn no_text_becomes_markup() {
    let own = own(&html::cure(&fixture::nasty()));
    assert!(own.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    assert!(!own.contains("<script>alert"));
    assert!(!own.contains(fixture::NASTY));
    // Each plot has one script with its end tag. The extra end tag belongs to the library.
    assert_eq!(own.matches("<script").count(), PLOTS.len());
    assert_eq!(own.matches("</script").count(), PLOTS.len() + 1);
}

#[test]
fn interrupted_uncured_odd_and_empty_reports_have_a_page() {
    let interrupted = own(&html::cure(&fixture::interrupted()));
    assert!(interrupted.contains("Interrupted. "));
    assert!(!interrupted.contains("plot-seeds"));
    let uncured = own(&html::cure(&fixture::nothing_cured()));
    assert!(uncured.contains("No family alone reached the goal"));
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
        assert!(own(&html::cure(&fixture::odd(odd))).contains("plot-growth"));
    }
    assert!(own(&html::cure(&fixture::empty())).contains("the baseline has not run"));
}

#[test]
#[ignore = "writes the pages to look at"]
fn dump() {
    let dir = std::env::temp_dir();
    for (name, report) in [
        ("fixture", fixture::cured()),
        ("interrupted", fixture::interrupted()),
        ("odd", fixture::odd(f64::NAN)),
        ("nasty", fixture::nasty()),
    ] {
        let path = dir.join(format!("report-{name}.html"));
        std::fs::write(path, html::cure(&report)).expect("writable");
    }
}
