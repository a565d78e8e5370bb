use super::{Finding, FindingLevel, History, HitRate, ModelCase, RULES, rule};
use crate::trace::Role;

/// Rows before the trouble in which its cause may lie.
const CAUSE: usize = 20;

/// Asks every rule about a model, before or after a trial. Root causes come first; a healthy model
/// has no finding.
pub fn diagnose(case: &ModelCase<'_>) -> Vec<Finding> {
    RULES
        .iter()
        .filter_map(|rule| rule.check_model(case))
        .collect()
}

/// Asks every rule about the log of a run.
///
/// The first finding is the headline: the root cause of the trouble that the run did not come back
/// from. Faults that were over before that trouble come after it, notes last. The headline carries
/// its rule's measured hit rate, unless it is a note, or the log is unlike those on which the rate
/// was measured. An empty log has no finding.
///
/// ```
/// use steadygrad::diagnose::{Example, History, diagnose_run, rule};
///
/// let Example::Logs { fires, silent } = rule("SG014").unwrap().example else {
///     unreachable!("SG014 reads logs");
/// };
/// let (broken, healthy) = (fires(), silent());
/// assert_eq!(diagnose_run(&History::of(&broken))[0].code, "SG014");
/// assert!(diagnose_run(&History::of(&healthy)).is_empty());
/// ```
pub fn diagnose_run(history: &History<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES
        .iter()
        .filter_map(|rule| rule.check_run(history))
        .collect();
    let errors = found
        .iter()
        .filter(|finding| finding.level == FindingLevel::Error);
    let trouble = history.onset().or_else(|| {
        let step = errors.filter_map(|finding| finding.step).min()?;
        history.rows().iter().position(|row| row.step == step)
    });
    let since = trouble.map_or(0, |row| history.step(row.saturating_sub(CAUSE)));
    // A finding that lasts into those rows, or was there from the start, may be the cause.
    let before = |finding: &Finding| {
        let last = finding.until.or(finding.step);
        let initial = finding.step == history.rows().first().map(|row| row.step);
        last.is_some_and(|last| last < since) && !initial
    };
    // The sort is stable: equals keep the rules' order, causes first.
    found.sort_by_key(|finding| (finding.level == FindingLevel::Note, before(finding)));
    if let Some(headline) = found.first_mut()
        && headline.level > FindingLevel::Note
    {
        let hit_rate = rule(&headline.code).and_then(|rule| rule.hit_rate);
        let hit_rate = hit_rate.filter(|_| is_like_measured(history));
        headline.confidence = hit_rate.map(HitRate::confidence);
    }
    found
}

/// Whether the log is like those on which hit rates were measured: a row for each step, with norm
/// and learning rate, of one loss that falls.
fn is_like_measured(history: &History<'_>) -> bool {
    let has = |role: &Role| history.trace().series(role).is_some();
    let columns = [Role::Loss, Role::GradNorm, Role::LearningRate];
    history.is_by_step() && history.is_supervised() && columns.iter().all(has)
}
