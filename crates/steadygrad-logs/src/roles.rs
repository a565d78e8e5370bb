//! The columns of a log that are read, and the role of each.

use std::path::Path;

use steadygrad::trace::{Objective, Role};

use crate::names::{is_loss_part, is_split, role};
use crate::objective::objective;
use crate::steps::{StepKind, step_kind};
use crate::{Columns, LogError};

/// The columns that are read, with their roles.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Selection {
    /// The columns that may hold the steps, the best first.
    pub(crate) steps: Vec<(usize, StepKind)>,
    /// The column that says which part of the data a row is about.
    pub(crate) split: Option<usize>,
    /// One column for each role, in the log's order.
    pub(crate) roles: Vec<(usize, Role)>,
    /// What kind of training the names speak of.
    pub(crate) objective: Objective,
    /// The names of all other columns.
    pub(crate) unmatched: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// A column that may have a role. Rank 0 is the best.
struct Candidate {
    index: usize,
    role: Role,
    rank: usize,
}

impl Selection {
    /// The columns to read: those of the steps, that of the split, those with a role.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = usize> {
        let steps = self.steps.iter().map(|(index, _)| *index);
        let roles = self.roles.iter().map(|(index, _)| *index);
        steps.chain(self.split).chain(roles)
    }

    /// Gives a column its role, unless a column with a better name has it. The first `fixed`
    /// columns are the user's choice.
    fn place(
        &mut self,
        candidate: Candidate,
        found: &mut Vec<Candidate>,
        fixed: usize,
        names: &[String],
    ) {
        // Each parameter is a role of its own.
        let parameter = matches!(candidate.role, Role::ParameterGradNorm(_));
        let rival = found.iter().position(|other| other.role == candidate.role);
        let Some(rival) = rival.filter(|_| !parameter) else {
            found.push(candidate);
            return;
        };
        // Of two names of one rank the alphabet decides, whatever the order of the columns.
        let of = |candidate: &Candidate| (candidate.rank, names[candidate.index].clone());
        let better = rival >= fixed && of(&candidate) < of(&found[rival]);
        let (taken, left) = if better {
            (candidate.index, found[rival].index)
        } else {
            (found[rival].index, candidate.index)
        };
        self.notes.push(format!(
            "both `{}` and `{}` could be {}: the first is used",
            names[taken],
            names[left],
            candidate.role.column()
        ));
        self.unmatched.push(names[left].clone());
        if better {
            found[rival] = candidate;
        }
    }

    /// The columns with a role. The user's choice is `found`.
    fn find(&mut self, mut found: Vec<Candidate>, names: &[String]) -> Vec<Candidate> {
        let fixed = found.len();
        let mut parts = Vec::new();
        let others: Vec<usize> = (0..names.len())
            .filter(|index| {
                let is_named = found.iter().any(|named| named.index == *index);
                let is_step = self.steps.iter().any(|(step, _)| step == index);
                !is_named && !is_step && self.split != Some(*index)
            })
            .collect();
        for index in others {
            match role(&names[index], self.objective) {
                Some((role, rank)) => {
                    let candidate = Candidate { index, role, rank };
                    self.place(candidate, &mut found, fixed, names);
                }
                None if is_loss_part(&names[index], self.objective) => parts.push(index),
                None => self.unmatched.push(names[index].clone()),
            }
        }
        let has_loss = found.iter().any(|found| found.role == Role::Loss);
        for index in parts {
            match has_loss && self.objective != Objective::Gan {
                true => self.unmatched.push(names[index].clone()),
                false => found.push(Candidate {
                    index,
                    role: Role::LossPart(names[index].clone()),
                    rank: 0,
                }),
            }
        }
        found
    }
}

/// Finds each column's role. Columns that the user named come first.
pub(crate) fn select(
    path: &Path,
    names: &[String],
    columns: &Columns,
) -> Result<Selection, LogError> {
    let named = |column: &Option<String>| match column {
        None => Ok(None),
        Some(column) => match names.iter().position(|name| name == column) {
            Some(index) => Ok(Some(index)),
            None => Err(no_column(path, column, names)),
        },
    };
    let objective = objective(names.iter().map(String::as_str));
    let mut selection = Selection {
        steps: steps(names, named(&columns.step)?),
        split: names.iter().position(|name| is_split(name)),
        objective,
        ..Selection::default()
    };
    let by_user = [
        (named(&columns.loss)?, Role::Loss),
        (named(&columns.grad_norm)?, Role::GradNorm),
        (named(&columns.learning_rate)?, Role::LearningRate),
    ];
    let by_user = by_user.into_iter().filter_map(|(index, role)| {
        let (index, rank) = (index?, 0);
        Some(Candidate { index, role, rank })
    });
    let found = selection.find(by_user.collect(), names);
    selection.roles = found
        .into_iter()
        .map(|found| (found.index, found.role))
        .collect();
    match selection.roles.iter().any(|(_, role)| is_essential(role)) {
        true => Ok(selection),
        false => Err(LogError::NoRole {
            path: path.to_owned(),
            columns: names.iter().take(20).cloned().collect(),
        }),
    }
}

/// The columns that may hold the steps, the best first.
fn steps(names: &[String], by_user: Option<usize>) -> Vec<(usize, StepKind)> {
    // W&B's export of grouped runs has extremes beside its means.
    let is_export = names.iter().any(|name| name.ends_with("__MIN"));
    let kind = |index: usize| step_kind(&names[index], is_export);
    let ranked = (0..names.len()).filter_map(|index| Some((kind(index)?, index)));
    let mut ranked: Vec<((StepKind, usize), usize)> = ranked.collect();
    ranked.sort_by_key(|(kind, index)| (*kind, names[*index].clone()));
    if let Some(index) = by_user {
        // An epoch beside it may still tell how long an epoch is.
        ranked.retain(|((kind, _), other)| *kind == StepKind::Epoch && *other != index);
        let of_its_own = kind(index).unwrap_or((StepKind::Named, 0));
        if of_its_own.0 == StepKind::Epoch {
            ranked.clear();
        }
        ranked.insert(0, (of_its_own, index));
    }
    ranked
        .into_iter()
        .map(|((kind, _), index)| (index, kind))
        .collect()
}

/// Whether the rules can judge a log that has this role alone.
pub(crate) fn is_essential(role: &Role) -> bool {
    matches!(
        role,
        Role::Loss
            | Role::GradNorm
            | Role::ParameterGradNorm(_)
            | Role::LossPart(_)
            | Role::ValueLoss
    )
}

/// The error for a column that the log lacks, with the nearest names.
pub(crate) fn no_column(path: &Path, column: &str, names: &[String]) -> LogError {
    const MOST: usize = 3;
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, column), name))
        .collect();
    near.sort();
    LogError::NoColumn {
        path: path.to_owned(),
        column: column.to_owned(),
        nearest: near
            .into_iter()
            .take(MOST)
            .map(|(_, name)| name.clone())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select_of(names: &[&str], columns: &Columns) -> Result<Selection, LogError> {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        select(Path::new("log"), &names, columns)
    }

    #[test]
    fn the_better_name_is_taken_and_the_user_s_above_all() {
        let found = select_of(
            &[
                "epoch",
                "train_loss_epoch",
                "train_loss_step",
                "step",
                "acc",
            ],
            &Columns::default(),
        )
        .unwrap();
        assert_eq!(found.steps, [(3, StepKind::Update), (0, StepKind::Epoch)]);
        assert_eq!(found.roles, [(2, Role::Loss)]);
        assert!(found.notes[0].starts_with("both `train_loss_step` and `train_loss_epoch`"));
        let columns = Columns {
            loss: Some("acc".into()),
            step: Some("epoch".into()),
            ..Columns::default()
        };
        let found = select_of(&["epoch", "loss", "step", "acc"], &columns).unwrap();
        assert_eq!(found.steps, [(0, StepKind::Epoch)]);
        assert_eq!(found.roles, [(3, Role::Loss)]);
    }

    #[test]
    fn what_is_not_there_is_named_with_the_nearest() {
        let columns = Columns {
            loss: Some("trian_loss".into()),
            ..Columns::default()
        };
        let error = select_of(&["train_loss", "step"], &columns)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no column `trian_loss`; the nearest are `train_loss`"),
            "{error}"
        );
        let error = select_of(&["a", "b"], &Columns::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("its columns are a, b; name one with --loss"),
            "{error}"
        );
    }

    #[test]
    fn parts_are_read_where_no_column_is_the_loss() {
        let of = |names: &[&str]| select_of(names, &Columns::default()).unwrap();
        let part = |name: &str| Role::LossPart(name.into());
        let found = of(&["epoch", "train/box_loss", "train/cls_loss", "val/box_loss"]);
        let parts = [(1, part("train/box_loss")), (2, part("train/cls_loss"))];
        assert_eq!(found.roles, parts);
        assert_eq!(found.unmatched, ["val/box_loss"]);
        let found = of(&["loss", "loss_cls"]);
        assert_eq!(
            (found.roles, found.unmatched),
            (vec![(0, Role::Loss)], vec!["loss_cls".into()])
        );
        let found = of(&["loss", "loss_G", "loss_D"]);
        assert_eq!(found.objective, Objective::Gan);
        let roles = [(0, Role::Loss), (1, part("loss_G")), (2, part("loss_D"))];
        assert_eq!(found.roles, roles);
    }
}
