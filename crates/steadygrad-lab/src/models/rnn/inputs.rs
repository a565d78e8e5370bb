/// The inputs of a recurrent network.
#[derive(Clone, Copy)]
pub(crate) enum Inputs<'a> {
    /// Sequences of symbols, each of which is a one-hot vector.
    Symbols(&'a [&'a [u8]]),
    /// Vectors: `values[(b * steps + t) * symbols..][..symbols]` belongs to sequence `b` and step
    /// `t`.
    Vectors {
        values: &'a [f32],
        batch: usize,
        steps: usize,
        symbols: usize,
    },
}

impl Inputs<'_> {
    pub(super) fn batch(&self) -> usize {
        match self {
            Inputs::Symbols(sequences) => sequences.len(),
            Inputs::Vectors { batch, .. } => *batch,
        }
    }

    pub(super) fn steps(&self) -> usize {
        match self {
            Inputs::Symbols(sequences) => sequences.first().map_or(0, |sequence| sequence.len()),
            Inputs::Vectors { steps, .. } => *steps,
        }
    }

    /// Calls `each` with the index and value of each component of sequence `b` at step `t`. Zeros
    /// of one-hot vectors are left out.
    pub(super) fn for_each(&self, b: usize, t: usize, mut each: impl FnMut(usize, f32)) {
        match *self {
            Inputs::Symbols(sequences) => each(usize::from(sequences[b][t]), 1.0),
            Inputs::Vectors {
                values,
                steps,
                symbols,
                ..
            } => {
                let vector = &values[(b * steps + t) * symbols..][..symbols];
                for (symbol, value) in vector.iter().enumerate() {
                    each(symbol, *value);
                }
            }
        }
    }
}
