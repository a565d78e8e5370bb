//! Training runs of many kinds, labelled by their final state: data to judge rules and detectors
//! on.
//!
//! `list` has all configurations; `configuration` splits them once into a part for tuning and a
//! held-out part. Thresholds are chosen on the tuning part only. Once the held-out part has been
//! used, only [`fresh`] runs can show an improvement. `run` trains a configuration and logs it,
//! `final_state` labels it, and `peers` has other tools' rules.

mod architecture;
mod configuration;
mod final_state;
mod list;
mod log;
mod peers;
mod run;

pub use architecture::Architecture;
pub use configuration::{Configuration, Part};
pub use final_state::FinalState;
pub use list::{configurations, fresh};
pub use peers::{PEERS, Peer};
pub use run::{Run, risk, run};
