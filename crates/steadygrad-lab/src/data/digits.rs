use smartcore::dataset::digits::load_dataset;

use super::{Table, Target};

/// The 1,797 handwritten digits of Alpaydin and Kaynak (UCI, 1998): ten classes of 8x8 pixels,
/// which are not scaled and go from 0 to 16.
pub fn digits() -> Table {
    let data = load_dataset();
    let rows = data.target.iter().map(|class| *class as usize).collect();
    let names = (0..10).map(|digit| digit.to_string()).collect();
    Table::new(
        data.num_features,
        data.data,
        Target::Classes { rows, names },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_set_equals_scikit_learns() {
        let table = digits();
        assert_eq!((table.features, table.values.len()), (64, 1797 * 64));
        assert_eq!((table.training.len(), table.validation.len()), (1438, 359));
        let largest = table.values.iter().copied().fold(0.0f32, f32::max);
        assert_eq!(largest, 16.0);
        // scikit-learn's load_digits() has the same mean.
        let mean =
            table.values.iter().map(|v| f64::from(*v)).sum::<f64>() / table.values.len() as f64;
        assert!((mean - 4.884_164_579_855_314).abs() < 1e-9, "{mean}");
        let Target::Classes { rows, .. } = &table.target else {
            panic!("classes")
        };
        let zeros = rows.iter().filter(|class| **class == 0).count();
        assert_eq!(zeros, 178);
    }
}
