use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use steadygrad::dynamics::Activation;
use steadygrad::remedy::Remedy;
use toml::Value;

use super::key::{Allowed, Key, StudyForm};
use super::keys;
use super::{SUBJECTS, Study, StudyError, SubjectConfig, nearest};
use crate::data::CsvTask;
use crate::{Decay, Optimizer};

/// Reads a study. Keys that are left out keep the subject's default.
///
/// # Errors
/// [`StudyError`] names the key, the value, what is allowed and the nearest valid key.
pub fn parse(text: &str) -> Result<Study, StudyError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| StudyError::Syntax {
            line: error
                .span()
                .map(|span| text[..span.start.min(text.len())].lines().count().max(1)),
            message: error.message().replace('\n', " "),
        })?;
    let mut values = Values::flatten(table);
    let subject = match values.text(&keys::SUBJECT)? {
        Some(name) => {
            SUBJECTS[SUBJECTS
                .iter()
                .position(|known| *known == name)
                .unwrap_or(0)]
        }
        None => SUBJECTS[0],
    };
    let known = keys::of(subject);
    if let Some(key) = values
        .0
        .keys()
        .find(|key| !known.iter().any(|known| known.name == **key))
    {
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        // A key in the wrong section is most like the key of the same name elsewhere.
        let elsewhere = known.iter().find(|known| last(known.name) == last(key));
        let near = elsewhere
            .map(|known| known.name.to_owned())
            .or_else(|| nearest(key, known.iter().map(|known| known.name)));
        return Err(StudyError::UnknownKey {
            key: key.clone(),
            subject,
            nearest: near,
        });
    }
    let mut study = if subject == SUBJECTS[2] {
        let file = values
            .text(&keys::FILE)?
            .ok_or_else(|| StudyError::Missing {
                key: "data.file",
                why: "csv-mlp needs a CSV file".into(),
            })?;
        let target = values
            .text(&keys::TARGET)?
            .ok_or_else(|| StudyError::Missing {
                key: "data.target",
                why: "csv-mlp needs the column to predict".into(),
            })?;
        let task = match values.text(&keys::TASK)?.as_deref() {
            Some("classification") => CsvTask::Classification,
            Some("regression") => CsvTask::Regression,
            _ => CsvTask::Auto,
        };
        Study::csv(file.into(), target, task)
    } else {
        Study::embedded(subject).expect("the other subjects are embedded")
    };
    fill(&mut study, &mut values)?;
    Ok(study)
}

fn fill(study: &mut Study, values: &mut Values) -> Result<(), StudyError> {
    let subject = study.subject_name();
    match &mut study.subject {
        SubjectConfig::Mlp { model, source: _ } => {
            values.set_count(&keys::DEPTH, &mut model.depth)?;
            values.set_count(&keys::WIDTH, &mut model.width)?;
            values.set_float(&keys::INIT_STD, &mut model.init_std)?;
            if let Some(name) = values.text(&keys::ACTIVATION)? {
                model.activation = Activation::from_name(&name).unwrap_or(model.activation);
            }
        }
        SubjectConfig::TemporalOrderRnn {
            sequence_length,
            hidden_size,
            init_std,
        } => {
            values.set_count(&keys::SEQUENCE_LENGTH, sequence_length)?;
            values.set_count(&keys::HIDDEN_SIZE, hidden_size)?;
            values.set_float(&keys::INIT_STD, init_std)?;
        }
        SubjectConfig::DigitsCnn(model) => {
            values.set_count(&keys::CONVOLUTIONS, &mut model.depth)?;
            values.set_count(&keys::CHANNELS, &mut model.channels)?;
            values.set_float(&keys::GAIN, &mut model.gain)?;
        }
    }
    let plan = &mut study.plan;
    if let Some(seed) = values.integer(&keys::SEED)? {
        plan.seed = seed.unsigned_abs();
    }
    values.set_float(&keys::LEARNING_RATE, &mut plan.learning_rate)?;
    if let Some(name) = values.text(&keys::OPTIMIZER)? {
        plan.optimizer = Optimizer::from_name(&name).unwrap_or(plan.optimizer);
    }
    match values.float(&keys::MOMENTUM)? {
        Some(momentum) if momentum > 0.0 && plan.optimizer != Optimizer::Sgd => {
            return Err(StudyError::Value {
                key: keys::MOMENTUM.name.into(),
                value: momentum.to_string(),
                allowed: format!(
                    "0, or no such key, with {}, which has its own",
                    plan.optimizer.name()
                ),
            });
        }
        Some(momentum) => plan.momentum = momentum,
        None if plan.optimizer != Optimizer::Sgd => plan.momentum = 0.0,
        None => (),
    }
    if let Some(steps) = values.integer(&keys::WARMUP_STEPS)? {
        plan.schedule.warmup_steps = steps.unsigned_abs();
    }
    if let Some(name) = values.text(&keys::DECAY)? {
        plan.schedule.decay = Decay::from_name(&name).unwrap_or(plan.schedule.decay);
    }
    if let Some(steps) = values.integer(&keys::STEPS)? {
        plan.steps = steps.unsigned_abs();
    }
    values.set_count(&keys::BATCH_SIZE, &mut plan.batch_size)?;
    values.set_float(&keys::GOAL, &mut study.goal)?;

    for form in keys::remedies_of(subject) {
        plan.remedies.extend(values.remedy(form)?);
    }
    Ok(())
}

/// The study's values under their full names.
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

    fn text(&mut self, key: &Key) -> Result<Option<String>, StudyError> {
        let Some(value) = self.0.get(key.name) else {
            return Ok(None);
        };
        let text = value.as_str().filter(|text| match &key.allowed {
            Allowed::OneOf(words) => words.contains(text),
            _ => !text.trim().is_empty(),
        });
        text.map(|text| Some(text.to_owned()))
            .ok_or_else(|| impossible(key, value))
    }

    fn integer(&mut self, key: &Key) -> Result<Option<i64>, StudyError> {
        let Some(value) = self.0.get(key.name) else {
            return Ok(None);
        };
        let Allowed::Integer(range) = &key.allowed else {
            return Ok(None);
        };
        let number = value.as_integer().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| impossible(key, value))
    }

    fn float(&mut self, key: &Key) -> Result<Option<f64>, StudyError> {
        let Some(value) = self.0.get(key.name) else {
            return Ok(None);
        };
        let number = value
            .as_float()
            .or_else(|| value.as_integer().map(|whole| whole as f64));
        let fits = |number: &f64| match &key.allowed {
            Allowed::Float { above, up_to } => number > above && number <= up_to,
            Allowed::Share => (0.0..1.0).contains(number),
            _ => number.is_finite(),
        };
        number
            .filter(fits)
            .map(Some)
            .ok_or_else(|| impossible(key, value))
    }

    /// The remedy of this form, if the study has it.
    fn remedy(&mut self, form: &StudyForm) -> Result<Option<Remedy>, StudyError> {
        let mut object = Map::from_iter([("kind".to_owned(), Json::from(form.kind))]);
        for field in form.fields {
            let number = match field.key.allowed {
                Allowed::Integer(_) => self.integer(&field.key)?.map(Json::from),
                _ => self.float(&field.key)?.map(Json::from),
            };
            let number = number.or(field.default.map(Json::from));
            object.extend(number.map(|number| (field.name.to_owned(), number)));
        }
        let [first, others @ ..] = form.fields else {
            return Ok(None);
        };
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

    fn set_float(&mut self, key: &Key, slot: &mut f64) -> Result<(), StudyError> {
        if let Some(number) = self.float(key)? {
            *slot = number;
        }
        Ok(())
    }

    fn set_count(&mut self, key: &Key, slot: &mut usize) -> Result<(), StudyError> {
        if let Some(number) = self.integer(key)? {
            *slot = number as usize;
        }
        Ok(())
    }
}

fn impossible(key: &Key, value: &Value) -> StudyError {
    StudyError::Value {
        key: key.name.to_owned(),
        value: value.to_string().trim().replace('\n', " "),
        allowed: key.allowed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "`model.depth = 0` is not possible: allowed is a whole number from 1 to 10000",
            ),
            ("[model]\ndepth = 2.5", "`model.depth = 2.5`"),
            ("[model]\ndepth = \"deep\"", "`model.depth = \"deep\"`"),
            (
                "[model]\nactivation = \"swish\"",
                "one of relu, leaky_relu, gelu, silu, selu, sigmoid, tanh, linear",
            ),
            (
                "[optimizer]\nlearning_rate = -1",
                "`optimizer.learning_rate = -1`",
            ),
            ("[optimizer]\nlearning_rate = 0", "a number above 0"),
            (
                "[optimizer]\nlearning_rate = nan",
                "`optimizer.learning_rate = nan`",
            ),
            (
                "[optimizer]\nlearning_rate = inf",
                "`optimizer.learning_rate = inf`",
            ),
            ("[optimizer]\nmomentum = 1", "up to, but not, 1"),
            (
                "[optimizer]\nname = \"rmsprop\"",
                "`optimizer.name = \"rmsprop\"` is not possible: allowed is one of sgd, adam, adamw",
            ),
            (
                "[optimizer]\nname = \"adam\"\nmomentum = 0.9",
                "`optimizer.momentum = 0.9` is not possible: allowed is 0, or no such key, with adam",
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
            ("[budget]\nsteps = 0", "`budget.steps = 0`"),
            ("seed = -1", "`seed = -1`"),
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
