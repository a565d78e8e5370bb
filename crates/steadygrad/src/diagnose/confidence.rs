/// Of each rule's headlines on the zoo's tuning runs: how many were right, of how many. A headline is right
/// when it names the fault that was put into the run, and its steps; or when nothing was put in and the run
/// did not stay healthy. SG005's at the start of a run are left out: a healthy run has no such loss by its label. `steadygrad-lab`'s example `zoo` prints them anew, and what is so of the held-out runs.
const SEEN: [(&str, u32, u32); 9] = [
    ("SG001", 23, 23),
    ("SG004", 7, 7),
    ("SG005", 7, 8),
    ("SG006", 23, 23),
    ("SG008", 15, 15),
    ("SG009", 34, 35),
    ("SG010", 12, 12),
    ("SG014", 31, 32),
    ("SG015", 41, 45),
];

/// The share that was right, drawn towards a half as two more headlines would, one of them right (Laplace's
/// rule of succession). `None` of a rule that was never the headline.
pub(super) fn confidence(code: &str) -> Option<f64> {
    let (_, right, of) = SEEN.iter().find(|(seen, ..)| *seen == code)?;
    Some(f64::from(right + 1) / f64::from(of + 2))
}

#[cfg(test)]
mod tests {
    use super::super::RULES;
    use super::*;

    #[test]
    fn every_count_is_of_a_rule_and_no_more_are_right_than_there_were() {
        for (code, right, of) in SEEN {
            assert!(RULES.iter().any(|rule| rule.code == code), "{code}");
            assert!(right <= of && of > 0, "{code}");
            let confidence = confidence(code).unwrap();
            assert!(0.0 < confidence && confidence < 1.0, "{code}");
        }
        assert_eq!(confidence("SG999"), None);
    }
}
