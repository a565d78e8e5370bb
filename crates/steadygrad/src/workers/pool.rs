use std::fmt;
use std::sync::{Mutex, PoisonError};

use fearless_simd::Level;
use rayon::ThreadPool;

use super::scale::scale;
use crate::stats::{Shard, TensorStats, Values, ValuesMut, with_slice};

/// The least number of values for which waking another thread pays.
const WORTH_A_THREAD: usize = 1 << 18;

/// The least number of values for which a lent thread pays. It is usually awake.
const WORTH_A_LENT_THREAD: usize = 1 << 16;

/// The number of values that a thread takes at a time.
const PORTION: usize = 16 * Shard::BLOCK;

/// A number of threads. Every number gives the same result to the bit.
///
/// ```
/// use steadygrad::Workers;
/// use steadygrad::stats::Values;
///
/// let tensor = vec![0.5f32; 1_000_000];
/// let one = Workers::single().measure(&[Values::from(&tensor)]);
/// let two = Workers::new(2)?.measure(&[Values::from(&tensor)]);
/// assert_eq!(one, two);
/// # Ok::<(), steadygrad::workers::WorkersError>(())
/// ```
#[derive(Debug, Default)]
pub struct Workers(Helpers);

/// The threads beside the calling one, which works too.
#[derive(Default)]
enum Helpers {
    #[default]
    None,
    Own(ThreadPool),
    Lent {
        threads: usize,
        on_all: Box<OnAll>,
    },
}

/// Calls its argument on several threads at once, and returns when all calls have returned.
type OnAll = dyn Fn(&(dyn Fn() + Sync)) + Send + Sync;

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Own(pool) => f.debug_tuple("Own").field(pool).finish(),
            Self::Lent { threads, .. } => f.debug_struct("Lent").field("threads", threads).finish(),
        }
    }
}

/// Threads that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start {threads} threads ({source}); ask for fewer, or use `Workers::single()`")]
pub struct WorkersError {
    threads: usize,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Workers {
    /// Uses the calling thread alone.
    pub fn single() -> Self {
        Self::default()
    }

    /// Starts threads, so that with the calling one there are `threads`. 0 and 1 start none.
    ///
    /// # Errors
    /// [`WorkersError`] when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, WorkersError> {
        let helpers = match threads {
            0 | 1 => Helpers::None,
            _ => Helpers::Own(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads - 1)
                    .thread_name(|index| format!("steadygrad-{index}"))
                    .build()
                    .map_err(|source| WorkersError {
                        threads,
                        source: source.into(),
                    })?,
            ),
        };
        Ok(Self(helpers))
    }

    /// Uses the threads of an existing pool, such as a training framework's.
    ///
    /// Pools that wait by spinning take each other's cores. A pool's own threads are awake and
    /// free. `on_all` calls its argument on the pool's threads, the calling one included, and
    /// returns when all calls have returned. The number of calls does not change the result.
    ///
    /// Unstable: it serves steadygrad's own adapters and may change in any release.
    #[doc(hidden)]
    pub fn lent(
        threads: usize,
        on_all: impl Fn(&(dyn Fn() + Sync)) + Send + Sync + 'static,
    ) -> Self {
        Self(match threads {
            0 | 1 => Helpers::None,
            _ => Helpers::Lent {
                threads,
                on_all: Box::new(on_all),
            },
        })
    }

    /// The number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        match &self.0 {
            Helpers::None => 1,
            Helpers::Own(pool) => 1 + pool.current_num_threads(),
            Helpers::Lent { threads, .. } => *threads,
        }
    }

    /// Whether the calling thread alone works on tensors of these lengths.
    fn alone(&self, lens: impl Iterator<Item = usize>) -> bool {
        let least = match self.0 {
            Helpers::None => return true,
            Helpers::Own(_) => WORTH_A_THREAD,
            Helpers::Lent { .. } => WORTH_A_LENT_THREAD,
        };
        let (values, portions) = lens.fold((0, 0), |(values, portions), len| {
            (values + len, portions + len.div_ceil(PORTION))
        });
        values < least || portions < 2
    }

    /// Measures many tensors in one pass over their memory. The statistics are in the tensors'
    /// order.
    pub fn measure(&self, tensors: &[Values<'_>]) -> Vec<TensorStats> {
        if self.alone(tensors.iter().map(Values::len)) {
            let (level, mut shard) = (Level::new(), Shard::default());
            return tensors
                .iter()
                .map(|&tensor| {
                    shard.clear();
                    shard.read(level, tensor);
                    shard.stats()
                })
                .collect();
        }
        let mut portions: Vec<(Values<'_>, Shard)> = Vec::new();
        for &tensor in tensors {
            split(tensor, PORTION, |portion| {
                portions.push((portion, Shard::default()))
            });
        }
        self.for_each(portions.iter_mut(), |(portion, shard)| {
            *shard = Shard::of(*portion);
        });
        let mut portions = portions.into_iter();
        tensors
            .iter()
            .map(|tensor| {
                let mut whole = Shard::default();
                for (_, shard) in portions.by_ref().take(tensor.len().div_ceil(PORTION)) {
                    whole.merge(&shard);
                }
                whole.stats()
            })
            .collect()
    }

    /// Multiplies each tensor's values by its coefficient, in the tensor's own type (16-bit types
    /// through f32), as a training framework does. A tensor whose coefficient is 1 is not written.
    /// NaN and infinite values stay the same while the coefficient is positive and finite.
    pub fn scale<'a>(&self, tensors: impl IntoIterator<Item = (ValuesMut<'a>, f64)>) {
        let tensors: Vec<_> = tensors
            .into_iter()
            .filter(|&(_, coefficient)| coefficient != 1.0)
            .collect();
        if self.alone(tensors.iter().map(|(values, _)| values.len())) {
            // The values that were measured last are most likely still in the cache.
            return tensors
                .into_iter()
                .rev()
                .for_each(|(values, coefficient)| scale(values, coefficient));
        }
        let portions = tensors.into_iter().flat_map(|(values, coefficient)| {
            split_mut(values, PORTION)
                .into_iter()
                .map(move |portion| (portion, coefficient))
        });
        let portions: Vec<_> = portions.collect();
        self.for_each(portions.into_iter().rev(), |(values, coefficient)| {
            scale(values, coefficient)
        });
    }

    /// Does `work` on every job, on all threads.
    fn for_each<T: Send>(&self, jobs: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        let queue = Mutex::new(jobs);
        let work_off = || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(job) = next() {
                work(job);
            }
        };
        match &self.0 {
            Helpers::None => {}
            Helpers::Own(pool) => pool.in_place_scope(|scope| {
                for _ in 0..pool.current_num_threads() {
                    scope.spawn(|_| work_off());
                }
                work_off();
            }),
            Helpers::Lent { on_all, .. } => on_all(&work_off),
        }
        work_off();
    }
}

/// Calls `each` with consecutive parts of the values, of `portion` values or fewer.
fn split<'a>(values: Values<'a>, portion: usize, mut each: impl FnMut(Values<'a>)) {
    with_slice!(Values, values, slice => slice.chunks(portion).for_each(|part| each(part.into())));
}

fn split_mut(values: ValuesMut<'_>, portion: usize) -> Vec<ValuesMut<'_>> {
    with_slice!(ValuesMut, values, slice => {
        slice.chunks_mut(portion).map(ValuesMut::from).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// A pool that starts its threads for each call.
    fn lent(threads: usize) -> Workers {
        Workers::lent(threads, move |work| {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_number_of_threads_changes_no_bit(
            lens in prop::collection::vec(0usize..300_000, 1..6), seed in any::<u64>(),
        ) {
            let mut bits = seed;
            let tensors: Vec<Vec<f32>> = lens.iter().map(|&len| (0..len).map(|_| {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let value = f32::from_bits((bits >> 32) as u32);
                if value.is_finite() { value } else { 0.0 }
            }).collect()).collect();
            let values: Vec<Values<'_>> = tensors.iter().map(|tensor| tensor[..].into()).collect();
            let alone = Workers::single().measure(&values);
            for threads in [2, 3, 5] {
                prop_assert_eq!(&Workers::new(threads).unwrap().measure(&values), &alone);
                prop_assert_eq!(&lent(threads).measure(&values), &alone);
            }
        }
    }

    #[test]
    fn threads_are_counted_and_zero_is_no_error() {
        assert_eq!(Workers::single().threads(), 1);
        assert_eq!(Workers::new(0).unwrap().threads(), 1);
        assert_eq!(Workers::new(3).unwrap().threads(), 3);
        assert!(Workers::new(2).unwrap().measure(&[]).is_empty());
        assert_eq!([lent(0).threads(), lent(3).threads()], [1, 3]);
    }

    #[test]
    fn the_caller_does_the_work_that_a_lent_pool_leaves() {
        let idle = Workers::lent(2, |_| {});
        let values = vec![3.0f32; WORTH_A_THREAD];
        let values = [Values::from(&values[..])];
        assert_eq!(idle.measure(&values), Workers::single().measure(&values));
    }

    /// Above and below the least number of values for a thread, in every type, and with a
    /// coefficient of 1.
    #[test]
    fn the_number_of_threads_changes_no_scaled_bit() {
        fn check<T>(values: impl Fn(usize) -> T)
        where
            T: Copy + PartialEq + std::fmt::Debug,
            for<'a> ValuesMut<'a>: From<&'a mut [T]>,
        {
            for lens in [[3, 0, 5], [2 * PORTION + 1, PORTION, WORTH_A_THREAD]] {
                let scaled = |workers: &Workers| {
                    let mut tensors = lens.map(|len| (0..len).map(&values).collect::<Vec<T>>());
                    let coefficients = [0.3, 0.7, 1.0];
                    workers.scale(
                        tensors
                            .iter_mut()
                            .map(|tensor| ValuesMut::from(&mut tensor[..]))
                            .zip(coefficients),
                    );
                    tensors
                };
                let alone = scaled(&Workers::single());
                assert_ne!(alone[0][1], values(1));
                assert_eq!(alone[2][1], values(1));
                for threads in [2, 3] {
                    assert!(scaled(&Workers::new(threads).unwrap()) == alone);
                    assert!(scaled(&lent(threads)) == alone);
                }
            }
        }
        let value = |index: usize| (index % 1000) as f32 - 500.0;
        check(value);
        check(|index| f64::from(value(index)));
        check(|index| half::f16::from_f32(value(index)));
        check(|index| half::bf16::from_f32(value(index)));
    }

    /// Whether the work waits for the one helper, which is busy for a while or until the work ends.
    fn waits_for_the_helper(busy: Duration, work: impl FnOnce(&Workers)) -> bool {
        let workers = Workers::new(2).unwrap();
        let (started, start) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let (free, is_free) = mpsc::channel();
        let Helpers::Own(helper) = &workers.0 else {
            panic!("{workers:?} has a helper of its own");
        };
        helper.spawn(move || {
            started.send(()).unwrap();
            let _ = ended.recv_timeout(busy);
            let _ = free.send(());
        });
        start.recv().unwrap();
        work(&workers);
        let waited = is_free.try_recv().is_ok();
        drop(end);
        waited
    }

    #[test]
    fn a_helper_is_woken_only_where_it_pays() {
        for (len, woken, busy) in [
            (WORTH_A_THREAD / 2, false, Duration::from_secs(20)),
            (WORTH_A_THREAD, true, Duration::from_millis(300)),
        ] {
            let mut values = vec![1.0f32; len];
            let measured = waits_for_the_helper(busy, |workers| {
                workers.measure(&[(&values).into()]);
            });
            let scaled = waits_for_the_helper(busy, |workers| {
                workers.scale([(ValuesMut::from(&mut values[..]), 0.5)]);
            });
            assert_eq!((measured, scaled), (woken, woken), "{len}");
        }
    }
}
