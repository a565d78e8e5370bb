use half::{bf16, f16};

/// The values of one gradient in memory, in any order, to be read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// Half precision with f32's exponent.
    Bf16(&'a [bf16]),
}

/// Runs `$body` with `$slice` bound to the slice inside, of any type.
macro_rules! with_slice {
    ($enum:ident, $values:expr, $slice:ident => $body:expr) => {
        match $values {
            $enum::F32($slice) => $body,
            $enum::F64($slice) => $body,
            $enum::F16($slice) => $body,
            $enum::Bf16($slice) => $body,
        }
    };
}
pub(crate) use with_slice;

impl Values<'_> {
    /// The number of values.
    pub fn len(&self) -> usize {
        with_slice!(Values, self, slice => slice.len())
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The values of one gradient in memory, to be changed in place.
#[derive(Debug)]
#[non_exhaustive]
pub enum ValuesMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
    /// IEEE half precision.
    F16(&'a mut [f16]),
    /// Half precision with f32's exponent.
    Bf16(&'a mut [bf16]),
}

impl ValuesMut<'_> {
    /// The number of values.
    pub fn len(&self) -> usize {
        with_slice!(ValuesMut, self, slice => slice.len())
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Borrows the values for a shorter time.
    pub fn reborrow(&mut self) -> ValuesMut<'_> {
        with_slice!(ValuesMut, self, slice => ValuesMut::from(&mut **slice))
    }

    /// Borrows the values to be read.
    pub fn as_values(&self) -> Values<'_> {
        match self {
            Self::F32(slice) => Values::F32(slice),
            Self::F64(slice) => Values::F64(slice),
            Self::F16(slice) => Values::F16(slice),
            Self::Bf16(slice) => Values::Bf16(slice),
        }
    }
}

macro_rules! from_slice {
    ($($float:ty => $variant:ident),+) => {$(
        impl<'a> From<&'a [$float]> for Values<'a> {
            fn from(slice: &'a [$float]) -> Self {
                Self::$variant(slice)
            }
        }

        impl<'a> From<&'a Vec<$float>> for Values<'a> {
            fn from(values: &'a Vec<$float>) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a, const N: usize> From<&'a [$float; N]> for Values<'a> {
            fn from(values: &'a [$float; N]) -> Self {
                Self::$variant(values)
            }
        }

        impl<'a> From<&'a mut [$float]> for ValuesMut<'a> {
            fn from(slice: &'a mut [$float]) -> Self {
                Self::$variant(slice)
            }
        }
    )+};
}

from_slice!(f32 => F32, f64 => F64, f16 => F16, bf16 => Bf16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_type() {
        let (single, double) = ([1.0f32; 3], [1.0f64; 2]);
        let (short, brain) = ([f16::ONE; 4], [bf16::ONE; 5]);
        let views: [Values<'_>; 4] = [
            (&single).into(),
            (&double).into(),
            (&short).into(),
            (&brain).into(),
        ];
        assert_eq!(views.map(|view| view.len()), [3, 2, 4, 5]);
        assert!(views.iter().all(|view| !view.is_empty()));
        let mut none: [f32; 0] = [];
        assert!(Values::from(&none).is_empty());
        assert!(ValuesMut::from(&mut none[..]).is_empty());
        let mut one = [1.0f32];
        assert!(!ValuesMut::from(&mut one[..]).is_empty());
    }
}
