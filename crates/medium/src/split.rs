//! Distributes pieces over volumes.

use std::collections::BTreeMap;

use crate::{Error, LARGEST_PIECE, Source, Volume};

/// The largest cluster of FAT32 and common for exFAT: a file takes a multiple of it.
pub(crate) const CLUSTER: u64 = 32 << 10;

/// What a volume has beside its pieces and copies of the manifest: folders, `volume.yaml`.
const OVERHEAD: u64 = 1 << 20;

/// The most bytes that the manifest lists a piece and its content in.
const LINES: u64 = 512;

/// Returns how large a piece may be, so pieces fill volumes of a size well.
pub fn largest_piece(volume: Option<u64>) -> u64 {
    // No volume is so small that its eighth is less, so the pieces of one that is too small stay
    // few.
    const SMALLEST: u64 = OVERHEAD / 8;
    volume.map_or(LARGEST_PIECE, |volume| {
        (volume / 8).clamp(SMALLEST, LARGEST_PIECE)
    })
}

/// Returns how large a volume must be that can be split like this one: the least multiple of 1 KiB.
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
    // With the size, what a volume must hold grows more slowly than the volume.
    let (mut less, mut enough) = (0, 1);
    while !is_enough(enough * STEP) && enough < u64::MAX / STEP / 2 {
        (less, enough) = (enough, enough * 2);
    }
    while enough - less > 1 {
        let middle = less + (enough - less) / 2;
        match is_enough(middle * STEP) {
            true => enough = middle,
            false => less = middle,
        }
    }
    enough * STEP
}

/// Gives each piece its volume, in order, and returns the volumes. `first` is the size of the files
/// beside the manifest, which travel with volume 1. Without a limit there is one volume.
///
/// # Errors
/// A piece does not fit into a volume.
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
