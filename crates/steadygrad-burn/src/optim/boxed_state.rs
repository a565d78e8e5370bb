use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::Device;

/// An optimizer's state of one parameter, in a box. A record of it is a record of `T`.
///
/// Burn moves states and allocates memory for them several times a step. A box makes this cheap: it
/// is as large as a pointer, while tensors by value are larger and need a wider alignment, which
/// slows the allocator down.
#[derive(Clone, Debug)]
pub struct BoxedState<T>(pub(super) Box<T>);

impl<T> BoxedState<T> {
    pub(super) fn new(state: T) -> Self {
        Self(Box::new(state))
    }

    /// Makes the next state from the last one, in the same box if there is one.
    pub(super) fn stepped<R>(
        last: Option<Self>,
        step: impl FnOnce(Option<T>) -> (R, T),
    ) -> (R, Self) {
        match last {
            Some(Self(mut place)) => {
                let (result, state) = step(Some(*place));
                *place = state;
                (result, Self(place))
            }
            None => {
                let (result, state) = step(None);
                (result, Self::new(state))
            }
        }
    }

    pub(super) fn into_inner(self) -> T {
        *self.0
    }
}

impl<T: RecordState> RecordState for BoxedState<T> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        T::state_unflatten(prefix, src, device).map(Self::new)
    }
}
