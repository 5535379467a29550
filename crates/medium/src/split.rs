//! Distributes pieces over volumes.

use std::collections::BTreeMap;

use crate::{Error, LARGEST_PIECE, Source, Volume};

/// Cluster size: the largest of FAT32, and common for exFAT. A file occupies a multiple of it.
pub(crate) const CLUSTER: u64 = 32 << 10;

/// Bytes of a volume for folders and `volume.yaml`.
const OVERHEAD: u64 = 1 << 20;

/// Maximum bytes of the manifest's lines about a piece and its content.
const LINES: u64 = 512;

/// Returns the maximum size of a piece, so volumes of this size are filled well.
pub fn largest_piece(volume: Option<u64>) -> u64 {
    // Less than an eighth of any usable volume. It bounds the number of pieces for a volume that is
    // too small.
    const SMALLEST: u64 = OVERHEAD / 8;
    volume.map_or(LARGEST_PIECE, |volume| {
        (volume / 8).clamp(SMALLEST, LARGEST_PIECE)
    })
}

/// Returns the smallest usable volume size, a multiple of 1 KiB.
fn smallest_volume(sources: &[Source], assumed: u64) -> u64 {
    const STEP: u64 = 1 << 10;
    let is_enough = |volume: u64| {
        let largest = largest_piece(Some(volume));
        let sizes = sources.iter().map(|source| source.content.size);
        let pieces: u64 = sizes
            .clone()
            .map(|size| size.div_ceil(largest).max(1))
            .sum();
        let piece = sizes.max().unwrap_or(0).min(largest);
        OVERHEAD + 2 * LINES * (pieces + assumed) + piece.next_multiple_of(CLUSTER) <= volume
    };
    // The required size grows more slowly than the volume, so a binary search finds the minimum.
    let (mut too_small, mut enough) = (0, 1);
    while !is_enough(enough * STEP) && enough < u64::MAX / STEP / 2 {
        (too_small, enough) = (enough, enough * 2);
    }
    while enough - too_small > 1 {
        let middle = too_small + (enough - too_small) / 2;
        match is_enough(middle * STEP) {
            true => enough = middle,
            false => too_small = middle,
        }
    }
    enough * STEP
}

/// Assigns each piece to a volume, in order, and returns the volumes. `first` is the size of the
/// files beside the manifest, which are on volume 1. `assumed` is the number of assumed blobs in
/// the manifest. Without a limit there is one volume.
///
/// # Errors
/// [`Error::SmallVolume`] if a piece does not fit into a volume.
pub fn split(
    sources: &mut [Source],
    limit: Option<u64>,
    first: u64,
    assumed: u64,
) -> Result<Vec<Volume>, Error> {
    let pieces = sources
        .iter()
        .map(|source| source.content.pieces.len() as u64);
    let manifest = LINES * (pieces.sum::<u64>() + assumed);
    let reserved = OVERHEAD + 2 * manifest;
    let room = |size: u64| size.next_multiple_of(CLUSTER);
    let pieces = sources.iter().flat_map(|source| &source.content.pieces);
    let needed = reserved + pieces.map(|piece| room(piece.size)).max().unwrap_or(0);
    if let Some(limit) = limit.filter(|limit| needed > *limit) {
        let needed = smallest_volume(sources, assumed);
        return Err(Error::SmallVolume { limit, needed });
    }
    let mut volumes = vec![Volume {
        number: 1,
        pieces: 0,
        size: 0,
    }];
    let mut used = reserved + first;
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    for piece in sources
        .iter_mut()
        .flat_map(|source| &mut source.content.pieces)
    {
        if let Some(volume) = known.get(&piece.sha256) {
            piece.volume = *volume;
            continue;
        }
        let takes = room(piece.size);
        if limit.is_some_and(|limit| used + takes > limit) {
            used = reserved;
            let number = volumes.len() as u32 + 1;
            volumes.push(Volume {
                number,
                pieces: 0,
                size: 0,
            });
        }
        used += takes;
        if let Some(volume) = volumes.last_mut() {
            volume.pieces += 1;
            volume.size += piece.size;
            piece.volume = volume.number;
        }
        known.insert(piece.sha256.clone(), piece.volume);
    }
    Ok(volumes)
}
