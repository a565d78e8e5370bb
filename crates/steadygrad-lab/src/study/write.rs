use std::fmt::Write as _;

use toml::Value;

use super::key::Key;
use super::keys;
use super::{Study, SubjectConfig, TableSource};

impl Study {
    /// The study as commented TOML. Remedies that are not in use stand there as comments.
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# A steadygrad study: run it with `steadygrad cure study.toml`.\n");
        let mut section = "";
        for key in keys::of(self.subject_name()) {
            let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if of != section {
                let _ = write!(text, "\n[{of}]\n");
                section = of;
            }
            let line = match self.value(&key) {
                Some(value) => format!("{name} = {value}"),
                None => format!("# {name} ="),
            };
            let _ = writeln!(text, "{line:<26} # {}: {}", key.comment, key.allowed);
        }
        text
    }

    fn value(&self, key: &Key) -> Option<Value> {
        let count = |number: usize| Value::Integer(number as i64);
        let mlp = match &self.subject {
            SubjectConfig::Mlp { model, .. } => Some(model),
            _ => None,
        };
        let cnn = match &self.subject {
            SubjectConfig::DigitsCnn(model) => Some(model),
            _ => None,
        };
        let rnn = match &self.subject {
            SubjectConfig::TemporalOrderRnn {
                sequence_length,
                hidden_size,
                init_std,
            } => Some((*sequence_length, *hidden_size, *init_std)),
            _ => None,
        };
        let csv = match &self.subject {
            SubjectConfig::Mlp {
                source: TableSource::Csv { file, target, task },
                ..
            } => Some((file, target, task)),
            _ => None,
        };
        match key.name {
            "subject" => Some(Value::String(self.subject_name().into())),
            "seed" => Some(Value::Integer(self.plan.seed as i64)),
            "data.file" => csv.map(|(file, ..)| Value::String(file.to_string_lossy().into_owned())),
            "data.target" => csv.map(|(_, target, _)| Value::String(target.clone())),
            "data.task" => csv.map(|(.., task)| Value::String(task.name().into())),
            "model.depth" => mlp
                .map(|model| model.depth)
                .or(cnn.map(|model| model.depth))
                .map(count),
            "model.channels" => cnn.map(|model| count(model.channels)),
            "model.gain" => cnn.map(|model| Value::Float(model.gain)),
            "model.width" => mlp.map(|model| count(model.width)),
            "model.activation" => mlp.map(|model| Value::String(model.activation.name().into())),
            "model.init_std" => mlp
                .map(|model| model.init_std)
                .or(rnn.map(|(.., std)| std))
                .map(Value::Float),
            "model.hidden_size" => rnn.map(|(_, size, _)| count(size)),
            "model.sequence_length" => rnn.map(|(length, ..)| count(length)),
            "optimizer.name" => Some(Value::String(self.plan.optimizer.name().into())),
            "optimizer.warmup_steps" => {
                Some(Value::Integer(self.plan.schedule.warmup_steps as i64))
            }
            "optimizer.decay" => Some(Value::String(self.plan.schedule.decay.name().into())),
            "optimizer.learning_rate" => Some(Value::Float(self.plan.learning_rate)),
            "optimizer.momentum" => Some(Value::Float(self.plan.momentum)),
            "budget.steps" => Some(Value::Integer(self.plan.steps as i64)),
            "budget.batch_size" => Some(count(self.plan.batch_size)),
            "goal.metric" => Some(Value::Float(self.goal)),
            _ => self.remedy_value(key),
        }
    }

    /// The parameter of one of the plan's remedies that a study writes under this key.
    fn remedy_value(&self, key: &Key) -> Option<Value> {
        let (kind, field) = keys::remedies_of(self.subject_name()).find_map(|form| {
            let field = form
                .fields
                .iter()
                .find(|field| field.key.name == key.name)?;
            Some((form.kind, field.name))
        })?;
        self.plan.remedies.iter().find_map(|remedy| {
            let object = serde_json::to_value(remedy).ok()?;
            let number = object.get(field).filter(|_| object["kind"] == kind)?;
            number
                .as_i64()
                .map(Value::Integer)
                .or(number.as_f64().map(Value::Float))
        })
    }
}
