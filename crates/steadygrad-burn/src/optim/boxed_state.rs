use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::Device;

/// An optimizer's state of one parameter, as big as a pointer. Burn moves states about and gives them
/// new memory several times a step: tensors by value would be copied, and lie in memory that is aligned
/// more than the allocator's usual, which takes it longer to find. A record of it is one of `T`.
#[derive(Clone, Debug)]
pub struct BoxedState<T>(pub(super) Box<T>);

impl<T> BoxedState<T> {
    pub(super) fn new(state: T) -> Self {
        Self(Box::new(state))
    }

    /// The next state, in the memory of the last one if there is one.
    pub(super) fn stepped<R>(
        last: Option<Self>,
        step: impl FnOnce(Option<T>) -> (R, T),
    ) -> (R, Self) {
        match last {
            Some(Self(mut place)) => {
                let (done, state) = step(Some(*place));
                *place = state;
                (done, Self(place))
            }
            None => {
                let (done, state) = step(None);
                (done, Self::new(state))
            }
        }
    }

    /// The state itself.
    pub fn into_inner(self) -> T {
        *self.0
    }
}

impl<T> AsRef<T> for BoxedState<T> {
    fn as_ref(&self) -> &T {
        &self.0
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
