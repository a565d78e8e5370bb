use std::fmt::Write as _;

use steadygrad::remedy::Remedy;
use toml::Value;

use super::config::Study;
use super::key::{Key, StudyForm};
use super::keys;

impl Study {
    /// The study as commented TOML. The keys of remedies that the study does not have are comments.
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# A steadygrad study: run it with `steadygrad cure study.toml`.\n");
        let mut section = "";
        let subject = self.subject_name();
        for setting in keys::settings_of(subject) {
            let value = (setting.get)(self);
            write_key(&mut text, &mut section, &setting.key, value);
        }
        for form in keys::remedies_of(subject) {
            for field in form.fields {
                let mut remedies = self.plan.remedies.iter();
                let value = remedies.find_map(|remedy| parameter(remedy, form, field.name));
                write_key(&mut text, &mut section, &field.key, value);
            }
        }
        text
    }
}

fn write_key(text: &mut String, section: &mut &str, key: &Key, value: Option<Value>) {
    let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
    // Writing to a string cannot fail.
    if of != *section {
        let _ = write!(text, "\n[{of}]\n");
        *section = of;
    }
    let line = match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("# {name} ="),
    };
    let _ = writeln!(text, "{line:<26} # {}: {}", key.comment, key.allowed);
}

/// The parameter of a remedy that has this form.
fn parameter(remedy: &Remedy, form: &StudyForm, name: &str) -> Option<Value> {
    let object = serde_json::to_value(remedy).ok()?;
    let number = object.get(name).filter(|_| object["kind"] == form.kind)?;
    match number.as_i64() {
        Some(whole) => Some(Value::Integer(whole)),
        None => number.as_f64().map(Value::Float),
    }
}
