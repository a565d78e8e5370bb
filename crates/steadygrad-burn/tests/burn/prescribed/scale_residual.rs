use super::{device, values};

include!("../../../../steadygrad/src/remedy/snippets/scale_residual.rs");

#[test]
fn a_quarter_of_what_the_block_adds_remains() {
    let input = Tensor::<1>::from_data([1.0, -2.0, 0.0], &device());
    let output = Tensor::<1>::from_data([5.0, 2.0, f32::NAN], &device());
    let scaled = values(scale_residual(input, output));
    assert_eq!(scaled[..2], [2.0, -1.0]);
    assert!(scaled[2].is_nan());
}
