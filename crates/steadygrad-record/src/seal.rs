//! JSON files that end in their own checksum.
//!
//! The checksum is XXH3 with 64 bits. It is about as fast as memory and misses one change in 2^64.
//! It does not stop a forger, which a run directory does not need.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::problem::Damage;

/// The text around the digits of the checksum at the end of a sealed file.
const BEFORE: &[u8] = b",\n  \"xxh3\": \"";
const AFTER: &[u8] = b"\"\n}\n";
const DIGITS: usize = 16;

pub(super) fn hex(sum: u64) -> String {
    format!("{sum:016x}")
}

/// Writes a JSON object, one field a line. Its last field is the checksum of all bytes before it.
pub(super) fn seal(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    // The object's closing brace follows the checksum.
    bytes.truncate(bytes.len().saturating_sub(b"\n}".len()));
    let digits = hex(xxh3_64(&bytes));
    bytes.extend_from_slice(BEFORE);
    bytes.extend_from_slice(digits.as_bytes());
    bytes.extend_from_slice(AFTER);
    Ok(bytes)
}

/// Reads what [`seal`] wrote. An error if any byte was changed.
pub(super) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damage> {
    let (rest, digits) = bytes
        .strip_suffix(AFTER)
        .and_then(|bytes| bytes.split_last_chunk::<DIGITS>())
        .ok_or(Damage::Unsealed)?;
    let body = rest.strip_suffix(BEFORE).ok_or(Damage::Unsealed)?;
    if hex(xxh3_64(body)).as_bytes() != digits {
        return Err(Damage::Checksum);
    }
    serde_json::from_slice(bytes).map_err(|error| Damage::Malformed {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Page {
        title: String,
        lines: Vec<u64>,
    }

    fn page() -> Page {
        Page {
            title: "größer".into(),
            lines: vec![0, u64::MAX],
        }
    }

    #[test]
    fn what_was_sealed_reads_back_and_is_json() {
        let bytes = seal(&page()).unwrap();
        assert_eq!(unseal::<Page>(&bytes), Ok(page()));
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["xxh3"].as_str().map(str::len), Some(DIGITS));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let bytes = seal(&page()).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(unseal::<Page>(&bytes[..length]), Err(Damage::Unsealed));
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = unseal::<Page>(&flipped);
            assert!(
                matches!(read, Err(Damage::Checksum | Damage::Unsealed)),
                "{read:?}"
            );
        }
    }

    #[test]
    fn another_object_is_named_as_such() {
        let bytes = seal(&serde_json::json!({"a": 1})).unwrap();
        assert!(matches!(
            unseal::<Page>(&bytes),
            Err(Damage::Malformed { .. })
        ));
    }
}
