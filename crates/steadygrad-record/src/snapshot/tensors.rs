//! `tensors.safetensors`, written and read tensor by tensor, without a second copy of the model.
//!
//! The `safetensors` crate makes the header. Its reader is not used: it needs the whole file in
//! memory and adds lengths from the header without a check.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};
use xxhash_rust::xxh3::Xxh3;

use super::file_sum::FileSum;
use super::{Dtype, SnapshotError, Tensor};
use crate::disk::{NewFile, NewFolder, Written};
use crate::problem::Problem;

/// The format's prefix: the header's length.
const LENGTH: usize = size_of::<u64>();

/// Values begin at a multiple of this number of bytes, as the format demands.
const ALIGNMENT: usize = 8;

fn stored(dtype: Dtype) -> StoredDtype {
    match dtype {
        Dtype::Bool => StoredDtype::BOOL,
        Dtype::U8 => StoredDtype::U8,
        Dtype::I8 => StoredDtype::I8,
        Dtype::U16 => StoredDtype::U16,
        Dtype::I16 => StoredDtype::I16,
        Dtype::F16 => StoredDtype::F16,
        Dtype::Bf16 => StoredDtype::BF16,
        Dtype::U32 => StoredDtype::U32,
        Dtype::I32 => StoredDtype::I32,
        Dtype::F32 => StoredDtype::F32,
        Dtype::U64 => StoredDtype::U64,
        Dtype::I64 => StoredDtype::I64,
        Dtype::F64 => StoredDtype::F64,
    }
}

fn known(dtype: StoredDtype) -> Option<Dtype> {
    Some(match dtype {
        StoredDtype::BOOL => Dtype::Bool,
        StoredDtype::U8 => Dtype::U8,
        StoredDtype::I8 => Dtype::I8,
        StoredDtype::U16 => Dtype::U16,
        StoredDtype::I16 => Dtype::I16,
        StoredDtype::F16 => Dtype::F16,
        StoredDtype::BF16 => Dtype::Bf16,
        StoredDtype::U32 => Dtype::U32,
        StoredDtype::I32 => Dtype::I32,
        StoredDtype::F32 => Dtype::F32,
        StoredDtype::U64 => Dtype::U64,
        StoredDtype::I64 => Dtype::I64,
        StoredDtype::F64 => Dtype::F64,
        _ => return None,
    })
}

/// Writes tensors whose byte counts were checked against their shapes.
pub(super) fn write(
    folder: &mut NewFolder,
    name: &str,
    tensors: &[Tensor],
) -> Result<Written, SnapshotError> {
    let refused = |reason| SnapshotError::Tensors { reason };
    // Wide values first, so that each tensor begins at a multiple of its values' size.
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.size()));
    let mut end = 0;
    let infos = order.iter().map(|tensor| {
        let begin = end;
        end += tensor.bytes.len();
        let info = TensorInfo {
            dtype: stored(tensor.dtype),
            shape: tensor.shape.clone(),
            data_offsets: (begin, end),
        };
        (tensor.name.clone(), info)
    });
    let metadata =
        Metadata::new(None, infos.collect()).map_err(|error| refused(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| refused(error.to_string()))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');

    let mut file = NewFile::create(folder.path().join(name))?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    for tensor in order {
        file.write(&tensor.bytes)?;
    }
    Ok(folder.add(file)?)
}

/// Reads the tensors in the order of `names`. An error if the file's length or checksum differs
/// from
/// `sum`.
pub(super) fn read(path: &Path, sum: &FileSum, names: &[String]) -> Result<Vec<Tensor>, Problem> {
    let refused = |error: &std::io::Error| Problem::refused(path, error);
    let file = File::open(path).map_err(|error| refused(&error))?;
    let length = file.metadata().map_err(|error| refused(&error))?.len();
    sum.check_length(path, length)?;
    let mut file = Hashing {
        file: BufReader::new(file),
        hash: Xxh3::new(),
    };
    let tensors = read_tensors(path, &mut file, length);
    // A changed file may also be unreadable. The change is the more useful error.
    if tensors.is_err() {
        std::io::copy(&mut file, &mut std::io::sink()).map_err(|error| refused(&error))?;
    }
    sum.check(path, file.hash.digest())?;
    in_order(tensors?, names).map_err(|reason| Problem::malformed(path, reason))
}

fn read_tensors(path: &Path, file: &mut Hashing, file_length: u64) -> Result<Vec<Tensor>, Problem> {
    let malformed = |reason: &str| Problem::malformed(path, reason);
    let mut length = [0; LENGTH];
    file.fill(path, &mut length)?;
    let header_length = u64::from_le_bytes(length);
    let data_length = (LENGTH as u64)
        .checked_add(header_length)
        .and_then(|begin| file_length.checked_sub(begin))
        .ok_or_else(|| malformed("its header is longer than the file"))?;
    let header = file.take(path, header_length)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| Problem::malformed(path, error))?;
    if metadata.data_len() as u64 != data_length {
        return Err(malformed("its tensors do not fill the file"));
    }
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let info = metadata
            .info(&name)
            .ok_or_else(|| malformed("a tensor has no description"))?;
        let dtype = known(info.dtype)
            .ok_or_else(|| malformed(&format!("tensors of type {} are not known", info.dtype)))?;
        let (begin, end) = info.data_offsets;
        tensors.push(Tensor {
            dtype,
            shape: info.shape.clone(),
            bytes: file.take(path, (end - begin) as u64)?,
            name,
        });
    }
    Ok(tensors)
}

/// Sorts the tensors into the manifest's order. The file's own order is by size and does not
/// distinguish empty tensors.
fn in_order(tensors: Vec<Tensor>, names: &[String]) -> Result<Vec<Tensor>, &'static str> {
    let mut by_name: std::collections::BTreeMap<_, _> = tensors
        .into_iter()
        .map(|tensor| (tensor.name.clone(), tensor))
        .collect();
    let ordered: Option<Vec<_>> = names.iter().map(|name| by_name.remove(name)).collect();
    match ordered {
        Some(ordered) if by_name.is_empty() => Ok(ordered),
        _ => Err("its tensors are not those that the manifest names"),
    }
}

/// A reader that also computes the checksum.
struct Hashing {
    file: BufReader<File>,
    hash: Xxh3,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Hashing {
    fn fill(&mut self, path: &Path, buffer: &mut [u8]) -> Result<(), Problem> {
        self.read_exact(buffer)
            .map_err(|error| Problem::refused(path, &error))
    }

    /// The next bytes. The caller has checked that the file is long enough.
    fn take(&mut self, path: &Path, length: u64) -> Result<Vec<u8>, Problem> {
        let length = usize::try_from(length).map_err(|error| Problem::malformed(path, error))?;
        let mut bytes = vec![0; length];
        self.fill(path, &mut bytes)?;
        Ok(bytes)
    }
}
