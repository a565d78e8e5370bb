use crate::remedy::Remedy;

pub(super) fn snippet(remedy: &Remedy) -> String {
    format!("{remedy}")
}
