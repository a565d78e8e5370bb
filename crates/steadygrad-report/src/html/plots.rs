//! The plots, one in each file, and their shared parts.

mod baseline;
mod butterfly;
mod course;
mod curve;
mod frame;
mod growth;
mod layers;
mod losses;
mod phase;
mod remedies;
mod seeds;
mod spectrum;

pub(super) use baseline::baseline;
pub(super) use butterfly::butterfly;
pub(super) use course::course;
pub(super) use growth::growth;
pub(super) use layers::layers;
pub(super) use losses::losses;
pub(super) use phase::phase;
pub(super) use remedies::remedies;
pub(super) use seeds::seeds;
pub(super) use spectrum::spectrum;
