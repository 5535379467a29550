//! The format of a medium, which a courier carries across the air gap, as a folder or a tar stream.
//!
//! ```text
//! START.txt             what the operator types on the other side
//! airlock               the program
//! manifest.yaml         lists the contents; `manifest.yaml.sig` is its signature
//! volumes/0001/         a volume, which may be on a disk of its own
//!     volume.yaml       number of the volume and name of the pack
//!     manifest.yaml     the same manifest and signature
//!     pieces/ab/ab12..  the pieces, named by their SHA-256
//! ```
//!
//! - [`Manifest`] lists all contents, their pieces, and what the other side is assumed to have.
//! - [`write()`] writes a folder; [`write_stream`] writes a tar stream.
//! - [`find`] recognises a medium on any number of disks. It returns a [`Found`], which cannot be
//!   read yet.
//! - [`Found::trust`] checks the signature and returns a [`Medium`], the proof that the manifest is
//!   trusted. Each piece is compared with its hash while it is read.
//!
//! Names are short, in lower case and valid on FAT. Modes, links and times are not used. A piece
//! has at most 1 GiB, because a file on FAT has less than 4 GiB.
//!
//! This crate does not know registries, environments, MKE or the terminal. It starts no program:
//! signatures are made elsewhere and verified here.

mod layout;
mod manifest;
mod signers;
mod signature;
mod piece;
mod split;
mod write;
mod stream;
mod find;
mod medium;
mod error;

#[cfg(test)]
mod tests;

pub use error::{Contradiction, Error};
pub use find::{Found, find, packs};
pub use layout::{MANIFEST, NAMESPACE, PROGRAM, SIGNATURE, START};
pub use manifest::{
    Assumed, AssumedBlob, Content, Manifest, Piece, RootFile, Served, ServedLock, Volume, What,
};
pub use medium::{Damage, Fault, Medium};
pub use piece::{LARGEST_PIECE, Source, hash_of};
pub use signature::{SignatureError, Signer, SignersFault, signer};
pub use signers::Signers;
pub use split::{largest_piece, split};
pub use stream::{PieceSink, read_stream, tar_folder, write_stream};
pub use write::{Files, others, parallel, to_write, write};

/// Receives the number of bytes just processed, and returns whether to continue.
pub type Progress<'a> = &'a (dyn Fn(u64) -> bool + Sync);
