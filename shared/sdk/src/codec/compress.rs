//! Compression, by zstd.

use std::io::{self, Read as _};

use bytes::Bytes;

use super::Error;

/// What is smaller gains little.
const WORTH_BYTES: usize = 1024;
/// The default of zstd: most of the gain for little of the time.
const LEVEL: i32 = 3;
/// The least window that a decoder may be asked for (2^10), and the most (2^27): what a frame asks for is allocated
/// before it is read.
const WINDOW_LOGS: (u32, u32) = (10, 27);

/// The bytes compressed; none if that would not make them smaller.
pub(super) fn smaller(plain: &[u8]) -> io::Result<Option<Bytes>> {
    if plain.len() < WORTH_BYTES {
        return Ok(None);
    }
    let compressed = zstd::bulk::compress(plain, LEVEL)?;
    Ok((compressed.len() < plain.len()).then(|| compressed.into()))
}

/// The plain bytes, if they are no more than `limit`: reading ends with the first byte beyond it, so that a small
/// message cannot fill the memory.
pub(super) fn expand(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(Error::Decompress)?;
    let window_log = usize::BITS - limit.saturating_sub(1).leading_zeros();
    decoder.window_log_max(window_log.clamp(WINDOW_LOGS.0, WINDOW_LOGS.1)).map_err(Error::Decompress)?;
    let mut plain = Vec::new();
    decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut plain).map_err(Error::Decompress)?;
    if plain.len() > limit { Err(Error::TooLarge { limit }) } else { Ok(plain) }
}
