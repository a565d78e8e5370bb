use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::family::Family;
use super::parameter::{Parameter, Value};
use super::snippet::{Language, fill};
use crate::measurements::TrainingSetup;

/// Calls a macro with every remedy: the name of its file, which is its name in JSON too, and the
/// name of its parameters. Within a family the first remedy is tried first.
///
/// The tests of the project's own adapters use it. It may change in any release.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_remedy {
    ($then:path) => {
        $then! {
            clip_global_norm ClipGlobalNorm,
            cap_spectral_norm CapSpectralNorm,
            weight_decay WeightDecay,
            critical_init CriticalInit,
            scale_residual ScaleResidual,
            rms_norm RmsNorm,
            reduce_depth ReduceDepth,
            truncate_bptt TruncateBptt,
            lower_learning_rate LowerLearningRate,
        }
    };
}

macro_rules! declare {
    ($($file:ident $Name:ident,)*) => {
        $(pub use super::$file::$Name;)*

        /// One concrete change to a training run.
        ///
        /// The list is closed on purpose: whoever applies remedies matches all of them, so that
        /// the compiler finds each place where a new one is missing.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", tag = "kind")]
        pub enum Remedy {
            $(
                #[doc = concat!("See [`struct@", stringify!($Name), "`].")]
                $Name($Name),
            )*
        }

        $(
            impl From<$Name> for Remedy {
                fn from(remedy: $Name) -> Self {
                    Remedy::$Name(remedy)
                }
            }
        )*

        /// Every remedy, in the order in which those of a family are tried.
        pub static REMEDIES: &[RemedyKind] = &[
            $(RemedyKind {
                name: stringify!($file),
                family: <$Name as Definition>::FAMILY,
                assumes_plain_layers: <$Name as Definition>::ASSUMES_PLAIN_LAYERS,
                parameters: <$Name as Definition>::PARAMETERS,
                burn: <$Name as Definition>::BURN,
                pytorch: <$Name as Definition>::PYTORCH,
                derive: |basis| {
                    let (remedy, derivation) = <$Name as Definition>::derive(basis)?;
                    Ok((remedy.into(), derivation))
                },
                draw: |uniform, setup| Some(<$Name as Definition>::draw(uniform, setup)?.into()),
            },)*
        ];

        impl Remedy {
            /// Its name, as in JSON.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Remedy::$Name(_) => stringify!($file),)*
                }
            }

            /// The values of its parameters, in the order of [`RemedyKind::parameters`].
            pub fn values(&self) -> Vec<Value> {
                match self {
                    $(Remedy::$Name(remedy) => Definition::values(remedy),)*
                }
            }
        }

        impl std::fmt::Display for Remedy {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Remedy::$Name(remedy) => remedy.fmt(f),)*
                }
            }
        }
    };
}

for_each_remedy!(declare);

/// What is known about a remedy whatever its parameters.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RemedyKind {
    /// Its name, as in JSON.
    pub name: &'static str,
    /// The family it belongs to.
    pub family: Family,
    /// Whether its parameters follow from the critical weight scale, which is known for plain
    /// layers only.
    pub assumes_plain_layers: bool,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    pub(super) burn: &'static str,
    pub(super) pytorch: &'static str,
    derive: fn(Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable>,
    draw: fn(f64, &TrainingSetup) -> Option<Remedy>,
}

impl RemedyKind {
    /// The remedies of a family, the one to try first in front.
    pub fn of_family(family: Family) -> impl Iterator<Item = &'static RemedyKind> {
        REMEDIES.iter().filter(move |kind| kind.family == family)
    }

    /// Computes the parameters from what was measured. They lie within the ranges of
    /// [`parameters`](Self::parameters) if the learning rate of the setup is positive and finite.
    ///
    /// # Errors
    /// [`NotApplicable`] says why there is nothing to compute them from, or no need to.
    pub fn derive(&self, basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
        (self.derive)(basis)
    }

    /// Draws the parameters over the range that people use, from one number in `0..1`. `None`
    /// when the remedy is not for a run with this setup.
    pub fn draw(&self, uniform: f64, setup: &TrainingSetup) -> Option<Remedy> {
        (self.draw)(uniform, setup)
    }
}

impl Remedy {
    /// What is known about it whatever its parameters.
    pub fn kind(&self) -> &'static RemedyKind {
        let name = self.name();
        let mut kinds = REMEDIES.iter();
        kinds
            .find(|kind| kind.name == name)
            .expect("the enum and the table are made from one list")
    }

    /// The family it belongs to.
    pub fn family(&self) -> Family {
        self.kind().family
    }

    /// Rust for Burn 0.22: items to paste into a module, below a comment that says what calls them.
    pub(crate) fn burn(&self) -> String {
        let kind = self.kind();
        fill(kind.burn, Language::Rust, kind.parameters, &self.values())
    }

    /// Python for PyTorch 2: functions to paste into a module, below a comment that says what calls
    /// them, or the lines themselves where they are few.
    pub(crate) fn pytorch(&self) -> String {
        let kind = self.kind();
        fill(
            kind.pytorch,
            Language::Python,
            kind.parameters,
            &self.values(),
        )
    }
}
