use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use steadygrad::remedy::Remedy;
use toml::Value;

use super::config::{CSV_MLP, SUBJECTS, Study};
use super::error::StudyError;
use super::key::{Allowed, Key, StudyForm};
use super::keys;
use crate::Optimizer;
use crate::data::CsvTask;

/// Reads a study. Keys that are left out keep the subject's default.
///
/// # Errors
/// [`StudyError`] names the key, the value, what is allowed and the most similar valid key.
pub fn parse(text: &str) -> Result<Study, StudyError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| StudyError::Syntax {
            line: error
                .span()
                .map(|span| text[..span.start.min(text.len())].lines().count().max(1)),
            message: error.message().replace('\n', " "),
        })?;
    let values = Values::flatten(table);
    let subject = values.subject()?;
    let settings = keys::settings_of(subject);
    values.check_names(subject, settings.iter().map(|setting| &setting.key))?;
    let mut study = if subject == CSV_MLP {
        let file = values.required(&keys::FILE, "csv-mlp needs a CSV file")?;
        let target = values.required(&keys::TARGET, "csv-mlp needs the column to predict")?;
        Study::csv(file.into(), target, CsvTask::Auto)
    } else {
        Study::embedded(subject).expect("the other subjects are embedded")
    };
    for setting in &settings {
        if let Some(value) = values.get(&setting.key)? {
            (setting.set)(&mut study, &value);
        }
    }
    values.check_momentum(&mut study)?;
    for form in keys::remedies_of(subject) {
        study.plan.remedies.extend(values.remedy(form)?);
    }
    Ok(study)
}

/// The values of a study under their full names.
struct Values(BTreeMap<String, Value>);

impl Values {
    fn flatten(table: toml::Table) -> Self {
        let mut flat = BTreeMap::new();
        for (name, value) in table {
            match value {
                Value::Table(section) => flat.extend(
                    section
                        .into_iter()
                        .map(|(key, value)| (format!("{name}.{key}"), value)),
                ),
                value => {
                    flat.insert(name, value);
                }
            }
        }
        Self(flat)
    }

    fn subject(&self) -> Result<&'static str, StudyError> {
        let name = self.get(&keys::SUBJECT)?;
        let known = SUBJECTS
            .into_iter()
            .find(|known| name.as_ref().and_then(Value::as_str) == Some(known));
        Ok(known.unwrap_or(SUBJECTS[0]))
    }

    /// Refuses keys that studies of this subject do not have.
    fn check_names<'a>(
        &self,
        subject: &'static str,
        settings: impl Iterator<Item = &'a Key>,
    ) -> Result<(), StudyError> {
        let fields = keys::remedies_of(subject).flat_map(|form| form.fields);
        let keys = settings.chain(fields.map(|field| &field.key));
        let known: Vec<&str> = keys.map(|key| key.name).collect();
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(StudyError::unknown_key(key, subject, &known)),
            None => Ok(()),
        }
    }

    /// The value of a key, if the study has it and the key allows it. Whole numbers become floats
    /// where the key takes floats.
    fn get(&self, key: &Key) -> Result<Option<Value>, StudyError> {
        let Some(value) = self.0.get(key.name) else {
            return Ok(None);
        };
        match usable(value, &key.allowed) {
            Some(usable) => Ok(Some(usable)),
            None => Err(StudyError::Value {
                key: key.name.to_owned(),
                value: value.to_string().trim().replace('\n', " "),
                allowed: key.allowed.to_string(),
            }),
        }
    }

    fn required(&self, key: &Key, why: &str) -> Result<String, StudyError> {
        let value = self.get(key)?;
        let text = value.as_ref().and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| StudyError::Missing {
            key: key.name,
            why: why.to_owned(),
        })
    }

    /// Only SGD has the study's momentum: a study of another optimizer must not set one.
    fn check_momentum(&self, study: &mut Study) -> Result<(), StudyError> {
        let (optimizer, momentum) = (study.plan.optimizer, study.plan.momentum);
        if optimizer == Optimizer::Sgd {
            return Ok(());
        }
        study.plan.momentum = 0.0;
        if momentum > 0.0 && self.0.contains_key(keys::MOMENTUM.name) {
            return Err(StudyError::Value {
                key: keys::MOMENTUM.name.into(),
                value: momentum.to_string(),
                allowed: format!("0, or leave the key out: {} has its own", optimizer.name()),
            });
        }
        Ok(())
    }

    /// The remedy of this form, if the study has it.
    fn remedy(&self, form: &StudyForm) -> Result<Option<Remedy>, StudyError> {
        let [first, others @ ..] = form.fields else {
            return Ok(None);
        };
        let mut object = Map::from_iter([("kind".to_owned(), Json::from(form.kind))]);
        for field in form.fields {
            let number = match self.get(&field.key)? {
                Some(Value::Integer(whole)) => Some(Json::from(whole)),
                Some(Value::Float(number)) => Some(Json::from(number)),
                _ => field.default.map(Json::from),
            };
            object.extend(number.map(|number| (field.name.to_owned(), number)));
        }
        if !object.contains_key(first.name) {
            let alone = others
                .iter()
                .find(|other| self.0.contains_key(other.key.name));
            return match alone {
                Some(other) => Err(StudyError::Missing {
                    key: first.key.name,
                    why: format!("{} changes nothing without it", other.key.name),
                }),
                None => Ok(None),
            };
        }
        let remedy = serde_json::from_value(Json::Object(object));
        Ok(Some(remedy.expect("a form has its remedy's parameters")))
    }
}

/// The value in the type that a key takes; `None` if the key does not allow it.
fn usable(value: &Value, allowed: &Allowed) -> Option<Value> {
    let number = value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64));
    let float = |fits: &dyn Fn(f64) -> bool| number.filter(|number| fits(*number));
    match allowed {
        Allowed::Integer(range) => {
            let whole = value.as_integer().filter(|whole| range.contains(whole));
            whole.map(Value::Integer)
        }
        Allowed::Float { above, up_to } => {
            float(&|number| number > *above && number <= *up_to).map(Value::Float)
        }
        Allowed::Share => float(&|number| (0.0..1.0).contains(&number)).map(Value::Float),
        Allowed::Any => float(&f64::is_finite).map(Value::Float),
        Allowed::Text => value
            .as_str()
            .filter(|text| !text.trim().is_empty())
            .map(|_| value.clone()),
        Allowed::OneOf(words) => value
            .as_str()
            .filter(|text| words.contains(text))
            .map(|_| value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decay;
    use crate::study::SubjectConfig;
    use steadygrad::dynamics::Activation;

    fn error(text: &str) -> String {
        let message = parse(text).expect_err(text).to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn an_empty_study_is_the_default() {
        assert_eq!(parse("").unwrap(), Study::embedded("digits-mlp").unwrap());
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        assert!(
            error("[model]\ndept = 3")
                .contains("unknown key `model.dept` (did you mean `model.depth`?)")
        );
        assert!(error("learning_rate = 0.1").contains("did you mean `optimizer.learning_rate`"));
        assert!(error("[remedy]\nbptt_steps = 3").contains("unknown key `remedy.bptt_steps`"));
        let rnn = error("subject = \"temporal-order-rnn\"\n[model]\ndepth = 3");
        assert!(
            rnn.contains("unknown key `model.depth`") && rnn.contains("temporal-order-rnn"),
            "{rnn}"
        );
        assert!(error("[quux]\nzzz = 1").contains("unknown key `quux.zzz`;"));
        assert!(error("[model.deep]\nx = 1").contains("unknown key `model.deep`"));
    }

    #[test]
    fn impossible_values_name_what_is_allowed() {
        for (text, expected) in [
            (
                "[model]\ndepth = 0",
                "`model.depth` is 0; give a whole number from 1 to 10000",
            ),
            ("[model]\ndepth = 2.5", "`model.depth` is 2.5;"),
            ("[model]\ndepth = \"deep\"", "`model.depth` is \"deep\";"),
            (
                "[model]\nactivation = \"swish\"",
                "one of relu, leaky_relu, gelu, silu, selu, sigmoid, tanh, linear",
            ),
            (
                "[optimizer]\nlearning_rate = -1",
                "`optimizer.learning_rate` is -1;",
            ),
            ("[optimizer]\nlearning_rate = 0", "a number above 0"),
            (
                "[optimizer]\nlearning_rate = nan",
                "`optimizer.learning_rate` is nan;",
            ),
            (
                "[optimizer]\nlearning_rate = inf",
                "`optimizer.learning_rate` is inf;",
            ),
            ("[optimizer]\nmomentum = 1", "up to but excluding 1"),
            (
                "[optimizer]\nname = \"rmsprop\"",
                "`optimizer.name` is \"rmsprop\"; give one of sgd, adam, adamw",
            ),
            (
                "[optimizer]\nname = \"adam\"\nmomentum = 0.9",
                "`optimizer.momentum` is 0.9; give 0, or leave the key out: adam has its own",
            ),
            ("[optimizer]\nwarmup_steps = -1", "a whole number from 0"),
            (
                "[optimizer]\ndecay = \"step\"",
                "one of constant, linear, cosine",
            ),
            (
                "subject = \"digits-cnn\"\n[model]\ngain = 0",
                "a number above 0",
            ),
            ("[budget]\nsteps = 0", "`budget.steps` is 0;"),
            ("seed = -1", "`seed` is -1;"),
            (
                "subject = \"digits\"",
                "one of digits-mlp, temporal-order-rnn, csv-mlp, digits-cnn",
            ),
            ("subject = \"csv-mlp\"", "the key `data.file` is missing"),
            (
                "[remedy]\ninit_input_rms = 2",
                "the key `remedy.init_gain` is missing",
            ),
            ("[goal]\nmetric = nan", "a finite number"),
            ("model = 3", "unknown key `model`"),
        ] {
            let message = error(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn every_activation_is_read_and_written() {
        for activation in Activation::ALL {
            let study = parse(&format!("[model]\nactivation = \"{}\"", activation.name())).unwrap();
            let SubjectConfig::Mlp { model, .. } = &study.subject else {
                panic!("{:?}", study.subject)
            };
            assert_eq!(model.activation, activation);
            assert_eq!(parse(&study.to_toml()).unwrap(), study);
        }
    }

    #[test]
    fn every_optimizer_and_schedule_is_read_and_written() {
        for name in Optimizer::NAMES {
            for decay in Decay::NAMES {
                let text = format!(
                    "subject = \"digits-cnn\"\n[optimizer]\nname = \"{name}\"\nwarmup_steps = 7\n\
                     decay = \"{decay}\""
                );
                let study = parse(&text).unwrap();
                let plan = &study.plan;
                assert_eq!(plan.optimizer.name(), name);
                assert_eq!(plan.schedule.decay.name(), decay);
                assert_eq!(plan.schedule.warmup_steps, 7);
                // SGD keeps the study's momentum, the others have none of it.
                assert_eq!(plan.momentum > 0.0, name == "sgd");
                assert_eq!(parse(&study.to_toml()).unwrap(), study);
            }
        }
        assert_eq!(Optimizer::from_name("Adam"), None);
    }

    #[test]
    fn bad_syntax_names_the_line() {
        assert!(error("seed = 1\n[model\ndepth = 1").contains("line 2"));
    }
}
