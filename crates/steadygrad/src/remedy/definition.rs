use super::basis::{Basis, Derivation, NotApplicable};
use super::family::Family;
use super::parameter::{Parameter, Value};
use crate::measurements::TrainingSetup;

/// What a remedy says about itself. Its parameters are the fields of the type that implements it.
pub(super) trait Definition: Copy + std::fmt::Display {
    /// The family it belongs to.
    const FAMILY: Family;
    /// Whether its parameters follow from the critical weight scale, which is known for plain
    /// layers only.
    const ASSUMES_PLAIN_LAYERS: bool = false;
    /// Its parameters, in the order of the fields.
    const PARAMETERS: &'static [Parameter];
    /// The file that a user of Burn pastes.
    const BURN: &'static str;
    /// The file that a user of PyTorch pastes.
    const PYTORCH: &'static str;

    /// Computes the parameters from what was measured.
    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable>;

    /// Draws the parameters over the range that people use, from one number in `0..1`. `None` when
    /// the remedy is not for a run with this setup.
    fn draw(uniform: f64, setup: &TrainingSetup) -> Option<Self>;

    /// The values of the parameters.
    fn values(&self) -> Vec<Value>;
}
