//! The text of a probe, section by section. The terminal and the page only draw it.

mod butterfly;
mod criticality;
mod forecast;
mod growth;
mod headline;
mod layers;
mod learning_rate;
mod remedy;
mod risk;
mod section;
mod spectrum;
mod subnormals;

pub(crate) use butterfly::{butterfly, name as series_name, no_butterfly, perturbed};
pub(crate) use criticality::criticality;
pub(crate) use forecast::{first_within, forecast};
pub(crate) use growth::growth;
pub(crate) use headline::{about, headline};
pub(crate) use layers::layers;
pub(crate) use learning_rate::learning_rate;
pub(crate) use remedy::remedy;
pub(crate) use risk::risk;
pub(crate) use section::{Section, through};
pub(crate) use spectrum::spectrum;
pub(crate) use subnormals::subnormals;
