//! The plots, one a file, and what they share.

mod baseline;
mod frame;
mod growth;
mod losses;
mod remedies;
mod seeds;
mod series;

pub(super) use baseline::baseline;
pub(super) use growth::growth;
pub(super) use losses::losses;
pub(super) use remedies::remedies;
pub(super) use seeds::seeds;
