//! What holds of every remedy.

use super::snippet::{Language, fill};
use super::*;
use crate::cure::testing::setup;

/// Every remedy, as drawn in the middle of its range or, where it is never drawn, with 0.5.
fn examples() -> Vec<Remedy> {
    let example = |kind: &RemedyKind| {
        let mut recurrent = setup();
        recurrent.sequence_length = Some(20);
        kind.draw(0.5, &setup())
            .or_else(|| kind.draw(0.5, &recurrent))
            .unwrap_or_else(|| {
                let halves = kind
                    .parameters
                    .iter()
                    .map(|parameter| (parameter.name, 0.5));
                let mut fields: serde_json::Map<String, serde_json::Value> = halves
                    .map(|(name, half)| (name.to_owned(), half.into()))
                    .collect();
                fields.insert("kind".into(), kind.name.into());
                serde_json::from_value(fields.into()).unwrap()
            })
    };
    REMEDIES.iter().map(example).collect()
}

#[test]
fn each_knows_its_kind_and_reads_back_from_json() {
    for (remedy, kind) in examples().into_iter().zip(REMEDIES) {
        assert_eq!((remedy.name(), remedy.kind().name), (kind.name, kind.name));
        assert_eq!(remedy.family(), kind.family);
        let json = serde_json::to_value(remedy).unwrap();
        assert_eq!(json["kind"], kind.name);
        assert_eq!(serde_json::from_value::<Remedy>(json).unwrap(), remedy);
    }
}

#[test]
fn the_parameters_are_the_fields_in_json() {
    for remedy in examples() {
        let json = serde_json::to_value(remedy).unwrap();
        let parameters = remedy.kind().parameters;
        assert_eq!(json.as_object().unwrap().len(), 1 + parameters.len());
        assert_eq!(remedy.values().len(), parameters.len());
        for (parameter, value) in parameters.iter().zip(remedy.values()) {
            let field = &json[parameter.name];
            match value {
                Value::Number(number) => assert_eq!(field.as_f64(), Some(number), "{json}"),
                Value::Count(count) => assert_eq!(field.as_u64(), Some(count as u64), "{json}"),
            }
            assert!(parameter.range.contains(value), "{remedy}");
        }
    }
}

#[test]
fn every_constant_is_defined_once_above_the_code() {
    for kind in REMEDIES {
        let remedy = examples().into_iter().find(|each| each.name() == kind.name);
        let values = remedy.unwrap().values();
        let languages = [
            (Language::Rust, kind.burn),
            (Language::Python, kind.pytorch),
        ];
        for (language, snippet) in languages {
            let at = |wanted: &dyn Fn(&str) -> bool| snippet.lines().position(wanted);
            let code = at(&|line| {
                ["fn ", "def ", "class "]
                    .iter()
                    .any(|word| line.starts_with(word))
            });
            for parameter in kind.parameters {
                let before = format!("{} = ", parameter.constant);
                let typed = format!("const {}: ", parameter.constant);
                let defines = |line: &str| line.starts_with(&before) || line.starts_with(&typed);
                let defined = snippet.lines().filter(|line| defines(line)).count();
                assert_eq!(defined, 1, "{} in {}", parameter.constant, kind.name);
                assert!(at(&defines) < code || code.is_none(), "{}", kind.name);
            }
            let filled = fill(snippet, language, kind.parameters, &values);
            assert_eq!(filled.lines().count(), snippet.lines().count());
            let changed = filled.lines().zip(snippet.lines()).filter(|(a, b)| a != b);
            assert!(changed.count() <= values.len());
        }
    }
}

#[test]
fn a_snippet_holds_the_values_of_its_remedy() {
    let remedy = Remedy::from(CriticalInit {
        gain: std::f64::consts::SQRT_2,
        input_rms: 0.1 + 0.2,
    });
    let burn = remedy.burn();
    assert!(
        burn.contains("const GAIN: f64 = std::f64::consts::SQRT_2;\n"),
        "{burn}"
    );
    assert!(
        burn.contains("const INPUT_RMS: f64 = 0.30000000000000004;\n"),
        "{burn}"
    );
    let pytorch = remedy.pytorch();
    assert!(pytorch.contains("GAIN = 1.4142135623730951\n"), "{pytorch}");
    assert!(
        pytorch.contains("INPUT_RMS = 0.30000000000000004\n"),
        "{pytorch}"
    );
}

#[test]
fn ranges_and_odd_values() {
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for range in [Range::Positive, Range::Share, Range::Count] {
        for value in odd {
            assert!(!range.contains(value.into()), "{range:?} {value}");
        }
        assert!(!range.contains(0usize.into()));
    }
    assert!(Range::Positive.contains(1e300.into()) && !Range::Positive.contains(1usize.into()));
    assert!(Range::Share.contains(1.0.into()) && !Range::Share.contains(1.1.into()));
    assert!(Range::Count.contains(1usize.into()) && !Range::Count.contains(1.0.into()));
}

#[test]
fn every_family_has_a_remedy_that_can_be_drawn() {
    for family in Family::ALL {
        let mut kinds = RemedyKind::of_family(family);
        assert!(
            kinds.any(|kind| kind.draw(0.5, &setup()).is_some()),
            "{family}"
        );
    }
}
