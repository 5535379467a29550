//! A trusted medium: each piece is compared with its hash while it is read.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};

use crate::piece::{Failed, Hashed, copy, sha256};
use crate::write::parallel;
use crate::{Content, Contradiction, Error, Manifest, Piece, Progress, Signer, layout};

/// A medium whose manifest is trusted. Only the functions of [`Found`](crate::Found) create one.
#[derive(Debug, Clone)]
pub struct Medium {
    pub(crate) manifest: Manifest,
    pub(crate) pack: String,
    pub(crate) signer: Option<Signer>,
    /// The folder with the files beside the manifest, if that is among the folders.
    pub(crate) root: Option<Utf8PathBuf>,
    /// The folders that have pieces, with the number that they claim.
    pub(crate) volumes: Vec<(Option<u32>, Utf8PathBuf)>,
}

/// A part of a medium that is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A piece.
    Piece {
        /// The piece as the manifest lists it.
        piece: Piece,
        /// The kind of damage.
        fault: Fault,
    },
    /// A file beside the manifest, such as `START.txt`.
    File {
        /// Name of the file.
        name: String,
        /// The kind of damage.
        fault: Fault,
    },
}

/// The kind of damage to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file does not exist.
    Missing,
    /// The file is shorter than the manifest lists.
    CutOff,
    /// The content has a different hash.
    Damaged,
    /// The disk or the permissions prevent reading.
    Unreadable,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "missing",
            Self::CutOff => "cut off",
            Self::Damaged => "damaged",
            Self::Unreadable => "not readable",
        })
    }
}

impl Medium {
    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the name of the pack: the SHA-256 of its manifest.
    pub fn pack(&self) -> &str {
        &self.pack
    }

    /// Returns the key that signed the manifest, or `None` for an unsigned medium.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Returns the numbers of the volumes that were not found: all of them for a stream.
    pub fn missing_volumes(&self) -> Vec<u32> {
        let found: BTreeSet<u32> = self
            .volumes
            .iter()
            .filter_map(|(number, _)| *number)
            .collect();
        let volumes = self.manifest.volumes.iter();
        // A piece shows that its volume exists, even if `volume.yaml` is damaged.
        let is_missing = |number: &u32| {
            !found.contains(number)
                && !self
                    .manifest
                    .pieces()
                    .into_iter()
                    .any(|piece| piece.volume == *number && self.path(piece).is_some())
        };
        volumes
            .map(|volume| volume.number)
            .filter(is_missing)
            .collect()
    }

    /// Returns the numbers of the volumes whose folder this user may not read.
    pub fn unreadable_volumes(&self) -> Vec<u32> {
        let volumes = self.volumes.iter();
        let refused = volumes.filter(|(_, folder)| is_refused(&folder.join(layout::VOLUME)));
        refused.filter_map(|(number, _)| *number).collect()
    }

    /// Returns the path of a piece, if it was found.
    pub fn path(&self, piece: &Piece) -> Option<Utf8PathBuf> {
        self.paths(piece).into_iter().next()
    }

    /// Returns the paths of all copies of a piece, the most likely undamaged one first.
    fn paths(&self, piece: &Piece) -> Vec<Utf8PathBuf> {
        let mut folders: Vec<_> = self.volumes.iter().collect();
        folders.sort_by_key(|(number, _)| *number != Some(piece.volume));
        let paths = folders
            .into_iter()
            .map(|(_, folder)| layout::piece(folder, &piece.sha256));
        // A volume may be given twice, with one incomplete copy.
        let mut found: Vec<Utf8PathBuf> = paths.filter(|path| path.is_file()).collect();
        found.sort_by_key(|path| path.metadata().map(|found| found.len()).ok() != Some(piece.size));
        found
    }

    /// Copies a piece and compares it with its hash. After an error the caller must discard the
    /// output.
    ///
    /// # Errors
    /// [`Error::Piece`] if the piece is missing or damaged, or writing fails.
    pub fn copy_piece(
        &self,
        piece: &Piece,
        into: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let faulty = |fault| Error::Piece {
            sha256: piece.sha256.clone(),
            volume: piece.volume,
            fault,
        };
        let copies = self.paths(piece);
        let is_undamaged =
            |copy: &&Utf8PathBuf| crate::hash_of(copy).is_ok_and(|found| found == piece.sha256);
        let path = match &copies[..] {
            [] => {
                let mut folders = self.volumes.iter().map(|(_, folder)| folder);
                let is_unreadable =
                    folders.any(|folder| is_refused(&layout::piece(folder, &piece.sha256)));
                return Err(faulty(match is_unreadable {
                    true => Fault::Unreadable,
                    false => Fault::Missing,
                }));
            }
            [only] => only,
            // A replacement has the piece, too.
            [first, ..] => copies.iter().find(is_undamaged).unwrap_or(first),
        };
        let mut from = files::open(path).map_err(|_| faulty(Fault::Unreadable))?;
        match copy(&mut from, into, progress) {
            Ok((_, size)) if size < piece.size => Err(faulty(Fault::CutOff)),
            Ok((found, _)) if found != piece.sha256 => Err(faulty(Fault::Damaged)),
            Ok(_) => Ok(()),
            Err(Failed::Read(_)) => Err(faulty(Fault::Unreadable)),
            Err(Failed::Write(source)) => Err(Error::Stream {
                action: "write",
                source,
            }),
            Err(Failed::Stopped) => Err(Error::Stopped),
        }
    }

    /// Copies all pieces of a content, and compares the result with the content's hash.
    ///
    /// # Errors
    /// The errors of [`Medium::copy_piece`], and [`Contradiction::Content`] if the hash differs.
    pub fn copy(
        &self,
        content: &Content,
        into: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        // A single piece has the hash of the content.
        if let [piece] = &content.pieces[..] {
            return self.copy_piece(piece, into, progress);
        }
        let mut into = Hashed::new(into);
        for piece in &content.pieces {
            self.copy_piece(piece, &mut into, progress)?;
        }
        match into.finish() == content.sha256 {
            true => Ok(()),
            false => Err(Error::Contradiction(Contradiction::Content(
                content.sha256.clone(),
            ))),
        }
    }

    /// Reads all pieces and all files beside the manifest, several concurrently. Returns the
    /// damaged ones in the order of the manifest.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn examine(&self, progress: Progress<'_>) -> Result<Vec<Damage>, Error> {
        let found = Mutex::new(Vec::new());
        let pieces: Vec<(usize, &Piece)> = self.manifest.pieces().into_iter().enumerate().collect();
        parallel(
            &pieces,
            &|(index, piece)| match self.copy_piece(piece, &mut io::sink(), progress) {
                Err(Error::Piece { fault, .. }) => {
                    let piece = (*piece).clone();
                    let mut found = found.lock().unwrap_or_else(|held| held.into_inner());
                    found.push((*index, Damage::Piece { piece, fault }));
                    Ok(())
                }
                result => result,
            },
        )?;
        let mut found = found.into_inner().unwrap_or_else(|held| held.into_inner());
        found.sort_by_key(|(index, _)| *index);
        let mut damages: Vec<Damage> = found.into_iter().map(|(_, damage)| damage).collect();
        damages.extend(self.examine_files());
        Ok(damages)
    }

    /// Reads the manifest in the medium's folder and the files beside it. Returns the damaged ones,
    /// none for a volume that travelled alone.
    pub fn examine_files(&self) -> Vec<Damage> {
        let Some(root) = &self.root else {
            return Vec::new();
        };
        // The trusted manifest may be the copy in a volume.
        let copy = files::read(root.join(layout::MANIFEST)).map(|bytes| sha256(&bytes));
        let copy = match copy {
            Ok(pack) => (pack != self.pack).then_some(Fault::Damaged),
            Err(_) => Some(Fault::Unreadable),
        };
        let files = self.manifest.files.iter();
        let files = files.map(|file| (&*file.name, examine_file(&root.join(&file.name), file)));
        std::iter::once((layout::MANIFEST, copy))
            .chain(files)
            .filter_map(|(name, fault)| {
                Some(Damage::File {
                    name: name.to_owned(),
                    fault: fault?,
                })
            })
            .collect()
    }

    /// Returns the medium with the pieces of a replacement, which are compared with their hashes,
    /// too.
    #[must_use]
    pub fn with_pieces_of(mut self, replacement: &Self) -> Self {
        let folders = replacement.volumes.iter();
        self.volumes
            .extend(folders.map(|(_, folder)| (None, folder.clone())));
        self
    }

    /// Returns the medium with a further folder of `pieces/ab/ab12..`, which were kept from a
    /// stream.
    #[must_use]
    pub fn with_folder(mut self, folder: &Utf8Path) -> Self {
        self.volumes.push((None, folder.to_owned()));
        self
    }
}

/// Returns whether this user may not access a path.
pub(crate) fn is_refused(path: &Utf8Path) -> bool {
    let found = path.metadata();
    found.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn examine_file(path: &Utf8Path, file: &crate::RootFile) -> Option<Fault> {
    let mut from = match files::open(path) {
        Ok(from) => from,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Fault::Missing),
        Err(_) => return Some(Fault::Unreadable),
    };
    match copy(&mut from, &mut io::sink(), &|_| true) {
        Ok((_, size)) if size < file.size => Some(Fault::CutOff),
        Ok((found, _)) => (found != file.sha256).then_some(Fault::Damaged),
        Err(_) => Some(Fault::Unreadable),
    }
}
