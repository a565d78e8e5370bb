use super::{assert_close, device, values};
use burn::tensor::Distribution;

include!("../../../../steadygrad/src/remedy/snippets/rms_norm.rs");

#[test]
fn every_third_layer_from_the_first_has_pre_activations_of_size_one() {
    let device = device();
    let before = Tensor::<2>::random([5, 64], Distribution::Normal(0.0, 1e4), &device);
    for index in 0..7 {
        let norm = layer_norm(index, 64, &device);
        let after = values(normalize(&norm, before.clone()));
        if [0, 3, 6].contains(&index) {
            for row in after.chunks_exact(64) {
                let squares: f64 = row.iter().map(|z| f64::from(z * z)).sum();
                assert_close((squares / 64.0).sqrt(), 1.0);
            }
        } else {
            assert_eq!(after, values(before.clone()));
        }
    }
}
