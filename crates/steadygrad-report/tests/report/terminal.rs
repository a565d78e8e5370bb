use steadygrad::cure::CureReport;
use steadygrad_report::terminal;

use crate::fixture;

/// The text without styles, as in a file.
fn plain(report: &CureReport) -> String {
    strip(&terminal::cure(report))
}

/// Removes the styles.
pub(crate) fn strip(styled: &str) -> String {
    let mut out = String::new();
    let mut rest = styled.to_owned();
    while let Some(start) = rest.find('\x1b') {
        out.push_str(&rest[..start]);
        let end = rest[start..].find('m').expect("a style ends");
        rest = rest[start + end + 1..].to_owned();
    }
    out + &rest
}

pub(crate) fn assert_says(text: &str, facts: &[&str]) {
    // Lines may break anywhere.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in facts {
        assert!(words.contains(fact), "`{fact}` is not in\n{text}");
    }
}

#[test]
fn a_cure_has_every_section() {
    let report = fixture::cured();
    let text = plain(&report);
    assert_says(
        &text,
        &[
            "digits-mlp explodes",
            "goal 0.950 (trivial predictor 0.101)",
            "error[SG",
            "note[SG",
            "--> hidden.0.weight, step 0",
            "before the first step",
            "= why:",
            "= help:",
            "█",
            "step 0, hidden.0.weight, by update ratio",
            "step 3, 3 steps after the first detection",
            "◆ initialize",
            "◇ control: clip=1",
            "x16",
            "73.4%",
            "Not tried",
            "fixed by the study",
            "How each parameter was computed",
            "3/3",
            "1: 0.964",
            "+gain = 1.4142",
            "nn.init.normal_",
        ],
    );
    assert_eq!(text.matches("error[").count(), 1);
    assert_eq!(text.matches("= why").count(), 1);
    for finding in &report.findings {
        assert_says(&text, &[&finding.code]);
    }
}

#[test]
fn an_interrupted_job_names_what_is_missing() {
    let text = plain(&fixture::interrupted());
    assert_says(
        &text,
        &[
            "Interrupted. Not run: clip, regularize, initialize",
            "the controls",
            "No prescription",
            "Run it again",
        ],
    );
}

#[test]
fn no_cure_is_said_plainly() {
    let text = plain(&fixture::nothing_cured());
    assert_says(
        &text,
        &[
            "no cure was found that holds on fresh seeds",
            "No prescription",
            "nothing is prescribed. Next: combine",
        ],
    );
    assert!(!text.contains("Interrupted"));
}

#[test]
fn odd_and_empty_reports_have_a_text() {
    assert_says(&plain(&fixture::empty()), &["the baseline has not run"]);
    assert_says(&plain(&fixture::odd(f64::NAN)), &["NaN"]);
    assert_says(&plain(&fixture::odd(f64::INFINITY)), &["∞", "×××"]);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let mut report = fixture::cured();
    for point in &mut report.measurements.growth.points {
        point.name.push_str("\u{1b}[2J\u{7}");
    }
    report.subject.name.push_str("\u{1b}[2J");
    report.trials[1].name.push_str("\u{1b}[2J");
    report.findings[0].place = steadygrad::Place::Layer("\u{1b}[2J".into());
    if let Some(prescription) = &mut report.prescription {
        prescription.burn.push_str("\u{1b}[2J");
    }
    let text = terminal::cure(&report);
    assert!(!text.contains("\u{1b}[2J") && !text.contains('\u{7}'));
}

#[test]
fn lines_fit_the_page() {
    for report in [
        fixture::cured(),
        fixture::interrupted(),
        fixture::nothing_cured(),
        fixture::odd(f64::NEG_INFINITY),
    ] {
        let text = plain(&report);
        let pasted: Vec<&str> = report
            .prescription
            .iter()
            .flat_map(|p| {
                p.study_diff
                    .as_deref()
                    .into_iter()
                    .chain([&*p.burn, &*p.pytorch])
            })
            .flat_map(str::lines)
            .collect();
        for line in text
            .lines()
            .filter(|line| !pasted.contains(&line.trim_start()))
        {
            assert!(line.chars().count() <= 110, "{line}");
        }
    }
}

#[test]
#[ignore = "writes the text to look at"]
fn dump() {
    let dir = std::env::temp_dir();
    for (name, report) in [
        ("cured", fixture::cured()),
        ("interrupted", fixture::interrupted()),
        ("nothing-cured", fixture::nothing_cured()),
        ("odd", fixture::odd(f64::NAN)),
    ] {
        let path = dir.join(format!("report-{name}.txt"));
        std::fs::write(path, terminal::cure(&report)).expect("writable");
    }
}
