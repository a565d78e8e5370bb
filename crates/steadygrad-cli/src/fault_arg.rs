use std::str::FromStr;

use steadygrad_lab::faults::Fault;

/// `NAME@STEP`: a fault at its default strength.
#[derive(Debug, Clone)]
pub(crate) struct FaultArg(pub(crate) Fault);

impl FromStr for FaultArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, step) = text
            .split_once('@')
            .ok_or_else(|| format!("`{text}` has no step; write NAME@STEP, for example nan@100"))?;
        let step: u64 = step.parse().map_err(|_| {
            format!("the step `{step}` is not a whole number: write for example nan@100")
        })?;
        let faults = Fault::all(step);
        let names: Vec<&str> = faults.iter().map(short_name).collect();
        match names.iter().position(|known| *known == name) {
            Some(index) => Ok(FaultArg(faults[index].clone())),
            None => {
                let names = names.join(", ");
                Err(format!(
                    "there is no fault `{name}`; the faults are {names}"
                ))
            }
        }
    }
}

fn short_name(fault: &Fault) -> &'static str {
    match fault.name() {
        "poisoned_batch (nan)" => "nan",
        "poisoned_batch (inf)" => "inf",
        name => name,
    }
}
