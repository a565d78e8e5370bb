//! The length and checksum of a file, as a manifest holds them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Written;
use crate::problem::{Damage, Problem};
use crate::seal::hex;

/// The length and checksum of a file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSum {
    bytes: u64,
    xxh3: String,
}

impl From<Written> for FileSum {
    fn from(written: Written) -> Self {
        Self {
            bytes: written.bytes,
            xxh3: hex(written.sum),
        }
    }
}

impl FileSum {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from(Written {
            bytes: bytes.len() as u64,
            sum: xxh3_64(bytes),
        })
    }

    pub(super) fn check_length(&self, path: &Path, found: u64) -> Result<(), Problem> {
        let expected = self.bytes;
        if found == expected {
            Ok(())
        } else {
            Err(Problem::new(path, Damage::Length { expected, found }))
        }
    }

    pub(super) fn check(&self, path: &Path, sum: u64) -> Result<(), Problem> {
        if hex(sum) == self.xxh3 {
            Ok(())
        } else {
            Err(Problem::new(path, Damage::Checksum))
        }
    }
}
