//! Checks of a batch of rows before Arrow's reader gets it.

use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, DataType, Schema};

/// Precedes the length of each message, and the length 0 at the stream's end.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A column begins at a multiple of this number of bytes.
const ALIGNMENT: i64 = 8;

fn not_ours(what: &str) -> ArrowError {
    ArrowError::IpcError(what.into())
}

/// Checks that a header is exactly one message. Anything after it would be read unchecked.
///
/// # Errors
/// [`ArrowError::IpcError`] otherwise.
pub(super) fn check_header(header: &[u8]) -> Result<(), ArrowError> {
    let whole = header.split_first_chunk::<8>().is_some_and(|(head, rest)| {
        let [a, b, c, d, e, f, g, h] = *head;
        [a, b, c, d] == CONTINUATION && u32::from_le_bytes([e, f, g, h]) as usize == rest.len()
    });
    if whole {
        Ok(())
    } else {
        Err(not_ours("its columns are not described in one message"))
    }
}

/// Checks that a part consists of uncompressed record batches whose buffers lie inside it.
///
/// Arrow's reader panics on a buffer that lies elsewhere or ends within a value. A forged checksum
/// can hide such a buffer.
///
/// # Errors
/// [`ArrowError::IpcError`] names what is wrong.
pub(super) fn check(schema: &Schema, mut part: &[u8]) -> Result<(), ArrowError> {
    while !part.is_empty() {
        let (head, rest) = part
            .split_first_chunk::<8>()
            .ok_or_else(|| not_ours("a message ends within its length"))?;
        let [a, b, c, d, e, f, g, h] = *head;
        if [a, b, c, d] != CONTINUATION {
            return Err(not_ours("a message does not begin as one"));
        }
        let length = u32::from_le_bytes([e, f, g, h]) as usize;
        if length == 0 {
            return Ok(());
        }
        let (header, rest) = rest
            .split_at_checked(length)
            .ok_or_else(|| not_ours("a message ends within its header"))?;
        let message =
            root_as_message(header).map_err(|_| not_ours("a message's header is malformed"))?;
        let batch = message
            .header_as_record_batch()
            .filter(|_| message.header_type() == MessageHeader::RecordBatch)
            .filter(|batch| batch.compression().is_none())
            .ok_or_else(|| not_ours("a message is not a plain batch of rows"))?;
        let (body, rest) = usize::try_from(message.bodyLength())
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| not_ours("a batch ends within its values"))?;
        check_batch(schema, batch, body.len())?;
        part = rest;
    }
    Ok(())
}

/// Checks one batch whose values take `bytes` bytes.
fn check_batch(
    schema: &Schema,
    batch: arrow_ipc::RecordBatch<'_>,
    bytes: usize,
) -> Result<(), ArrowError> {
    let inside = |buffer: &arrow_ipc::Buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        buffer.offset() >= 0
            && buffer.offset() % ALIGNMENT == 0
            && buffer.length() >= 0
            && end.is_some_and(|end| end <= bytes as i64)
    };
    let buffers = batch.buffers().unwrap_or_default();
    if !buffers.iter().all(inside) {
        return Err(not_ours("a column lies outside its batch"));
    }
    let mut lengths = buffers.iter().map(|buffer| buffer.length());
    for field in schema.fields() {
        let _validity = lengths.next();
        let whole = match field.data_type() {
            DataType::Float64 | DataType::UInt64 => {
                lengths.next().is_some_and(|length| length % 8 == 0)
            }
            DataType::Utf8 => {
                lengths.next().is_some_and(|length| length % 4 == 0) && lengths.next().is_some()
            }
            _ => false,
        };
        if !whole {
            return Err(not_ours("a column is not of the type that it should be"));
        }
    }
    let counts = |node: &arrow_ipc::FieldNode| {
        (0..=batch.length()).contains(&node.null_count()) && node.length() == batch.length()
    };
    if batch.length() < 0 || !batch.nodes().is_some_and(|all| all.iter().all(counts)) {
        return Err(not_ours(
            "a column has another number of rows than its batch",
        ));
    }
    Ok(())
}
