use burn::tensor::Device;

use super::config::{Study, SubjectConfig, TableSource};
use crate::SubjectVisitor;
use crate::data::{CsvError, digits, read_csv};
use crate::subjects::{DigitsCnn, TableMlp, TemporalOrderRnn};

/// A subject that is ready to be trained.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadedSubject {
    /// A perceptron.
    Mlp(TableMlp),
    /// A recurrent network.
    Rnn(TemporalOrderRnn),
    /// A convolutional network.
    Cnn(DigitsCnn),
}

impl LoadedSubject {
    /// Hands the subject to a visitor.
    pub fn visit<V: SubjectVisitor>(&self, visitor: V) -> V::Output {
        match self {
            LoadedSubject::Mlp(subject) => visitor.visit(subject),
            LoadedSubject::Rnn(subject) => visitor.visit(subject),
            LoadedSubject::Cnn(subject) => visitor.visit(subject),
        }
    }
}

impl Study {
    /// Reads the data and sets the subject up.
    ///
    /// # Errors
    /// Those of the user's CSV file.
    pub fn load(&self, device: &Device) -> Result<LoadedSubject, CsvError> {
        let device = device.clone();
        Ok(match &self.subject {
            SubjectConfig::Mlp { source, model } => {
                let (table, from) = match source {
                    TableSource::Digits => {
                        (digits(), "1,797 handwritten digits, raw pixels".into())
                    }
                    TableSource::Csv { file, target, task } => (
                        read_csv(file, target, *task)?,
                        format!("`{target}` of {}", file.display()),
                    ),
                };
                let name = self.subject_name();
                let subject = TableMlp::new(name, from, table, *model, self.goal, device);
                LoadedSubject::Mlp(subject)
            }
            SubjectConfig::TemporalOrderRnn {
                sequence_length,
                hidden_size,
                init_std,
            } => {
                let subject =
                    TemporalOrderRnn::new(*sequence_length, *hidden_size, *init_std, self.goal);
                LoadedSubject::Rnn(subject)
            }
            SubjectConfig::DigitsCnn(model) => {
                LoadedSubject::Cnn(DigitsCnn::new(*model, self.goal, device))
            }
        })
    }
}
