//! The sentences of the report, which every document shares.

mod cure;
mod finding;
mod run;

pub(crate) use cure::{
    Onset, RankingRow, baseline, change, control_as_good, diff_sign, end, headline, missing,
    next_steps, not_tried, ranked, verdict,
};
pub(crate) use finding::{confidence, place, range};
pub(crate) use run::{columns, cut_short, forecast, is_good, log, objective, runs, state, unseen};
