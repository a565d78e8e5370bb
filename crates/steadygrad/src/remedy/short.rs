/// A number in a few characters: plain between 1e-3 and 1e4, scientific beyond.
pub(super) struct Short(pub(super) f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.0.abs();
        if size != 0.0 && !(1e-3..1e4).contains(&size) {
            write!(f, "{:.2e}", self.0)
        } else {
            let digits = if size >= 100.0 {
                0
            } else if size >= 1.0 {
                2
            } else {
                4
            };
            write!(f, "{:.digits$}", self.0)
        }
    }
}
