//! The remedies as the lab applies them, one file each.
//!
//! A file says what its remedy changes in a run ([`Effect`]) and how a study writes it
//! ([`StudyForm`]). `build` puts the effects into a model and hands on those that act at each step.
//! The list of remedies is the core's: a remedy without a file does not compile.

mod cap_spectral_norm;
mod clip_global_norm;
mod critical_init;
pub(crate) mod effect;
mod lower_learning_rate;
mod reduce_depth;
mod rms_norm;
mod scale_residual;
mod truncate_bptt;
mod weight_decay;

use steadygrad::remedy::{self, Remedy};

use crate::Structure;
use crate::study::key::StudyForm;
use effect::{Effect, LabRemedy};

macro_rules! apply {
    ($($file:ident $Name:ident,)*) => {
        /// How a study writes each remedy, in the order in which it prints their keys.
        static STUDY_FORMS: &[Option<StudyForm>] = &[
            $(<remedy::$Name as LabRemedy>::STUDY,)*
        ];

        /// What this remedy changes in a run.
        pub(crate) fn effect_of(remedy: &Remedy) -> Effect {
            match remedy {
                $(Remedy::$Name(remedy) => remedy.effect(),)*
            }
        }
    };
}

steadygrad::for_each_remedy!(apply);

/// How a study writes the remedies that it has keys for.
pub(crate) fn study_forms() -> impl Iterator<Item = &'static StudyForm> {
    STUDY_FORMS.iter().flatten()
}

/// The structure that these remedies ask for. The last one decides where two disagree.
pub(crate) fn structure_of(remedies: &[Remedy]) -> Structure {
    remedies
        .iter()
        .map(|remedy| effect_of(remedy).structure)
        .fold(Structure::default(), Structure::overridden_by)
}

#[cfg(test)]
mod tests {
    use steadygrad::cure::CLIP_ONE;
    use steadygrad::remedy::{ReduceDepth, RmsNorm};

    use super::*;

    #[test]
    fn the_last_of_two_remedies_decides_and_the_others_stay() {
        let structure = structure_of(&[
            ReduceDepth { depth: 7 }.into(),
            RmsNorm { every: 2 }.into(),
            CLIP_ONE,
            ReduceDepth { depth: 3 }.into(),
        ]);
        let expected = Structure {
            depth: Some(3),
            rms_norm_every: Some(2),
            bptt_steps: None,
        };
        assert_eq!(structure, expected);
        assert_eq!(structure_of(&[]), Structure::default());
    }

    #[test]
    fn the_form_of_a_study_is_that_of_its_remedy() {
        for form in study_forms() {
            let mut kinds = remedy::REMEDIES.iter();
            let kind = kinds.find(|kind| kind.name == form.kind).unwrap();
            let parameters: Vec<&str> = kind.parameters.iter().map(|each| each.name).collect();
            let fields: Vec<&str> = form.fields.iter().map(|field| field.name).collect();
            assert_eq!(fields, parameters, "{}", form.kind);
        }
    }
}
