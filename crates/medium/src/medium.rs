//! A trusted medium: each piece is compared with its hash while it is read.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};

use crate::piece::{Failed, Hashed, copy, sha256};
use crate::write::parallel;
use crate::{Content, Contradiction, Error, Manifest, Piece, Progress, Signer, layout};

/// A medium whose manifest may be used. Only the functions of [`Found`](crate::Found) make one.
#[derive(Debug, Clone)]
pub struct Medium {
    manifest: Manifest,
    pack: String,
    signer: Option<Signer>,
    root: Option<Utf8PathBuf>,
    volumes: Vec<(Option<u32>, Utf8PathBuf)>,
}

/// Something of a medium that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A piece.
    Piece {
        /// The piece.
        piece: Piece,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file beside the manifest, such as `START.txt`.
    File {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not exist.
    Missing,
    /// It is shorter.
    CutOff,
    /// It has different content.
    Damaged,
    /// The disk cannot read it.
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
    pub(crate) fn new(
        manifest: Manifest,
        pack: String,
        signer: Option<Signer>,
        root: Option<Utf8PathBuf>,
        volumes: Vec<(Option<u32>, Utf8PathBuf)>,
    ) -> Self {
        Self {
            manifest,
            pack,
            signer,
            root,
            volumes,
        }
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the name of the pack: the SHA-256 of its manifest.
    pub fn pack(&self) -> &str {
        &self.pack
    }

    /// Returns the key that signed it; none if it is unsigned.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Returns the numbers of the volumes that were not found. None is found of a stream.
    pub fn missing_volumes(&self) -> Vec<u32> {
        let found: BTreeSet<u32> = self
            .volumes
            .iter()
            .filter_map(|(number, _)| *number)
            .collect();
        let volumes = self.manifest.volumes.iter();
        // A piece of a volume shows that the volume is there, even if its own file is damaged.
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

    /// Returns the numbers of the volumes whose folder this user must not read.
    pub fn unreadable_volumes(&self) -> Vec<u32> {
        let volumes = self.volumes.iter();
        let refused = volumes.filter(|(_, folder)| is_refused(&folder.join(layout::VOLUME)));
        refused.filter_map(|(number, _)| *number).collect()
    }

    /// Returns where a piece is.
    pub fn path(&self, piece: &Piece) -> Option<Utf8PathBuf> {
        self.paths(piece).into_iter().next()
    }

    /// Returns every copy of a piece, the likeliest first.
    fn paths(&self, piece: &Piece) -> Vec<Utf8PathBuf> {
        let mut folders: Vec<_> = self.volumes.iter().collect();
        folders.sort_by_key(|(number, _)| *number != Some(piece.volume));
        let paths = folders
            .into_iter()
            .map(|(_, folder)| layout::piece(folder, &piece.sha256));
        // The same volume may be given twice, and one copy may be incomplete.
        let mut found: Vec<Utf8PathBuf> = paths.filter(|path| path.is_file()).collect();
        found.sort_by_key(|path| path.metadata().map(|found| found.len()).ok() != Some(piece.size));
        found
    }

    /// Copies a piece and compares it with its hash. What was written is to be discarded after an
    /// error.
    ///
    /// # Errors
    /// The piece is missing or damaged, or something cannot be written.
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
        let path = self.path(piece).ok_or_else(|| {
            let mut folders = self.volumes.iter().map(|(_, folder)| folder);
            match folders.any(|folder| is_refused(&layout::piece(folder, &piece.sha256))) {
                true => faulty(Fault::Unreadable),
                false => faulty(Fault::Missing),
            }
        })?;
        // Of a piece that a replacement has too, the damaged copy is not used.
        let path = match &self.paths(piece)[..] {
            [_] => path,
            copies => {
                let is_whole = |copy: &&Utf8PathBuf| {
                    crate::hash_of(copy).is_ok_and(|found| found == piece.sha256)
                };
                copies.iter().find(is_whole).cloned().unwrap_or(path)
            }
        };
        let mut from = files::open(&path).map_err(|_| faulty(Fault::Unreadable))?;
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

    /// Copies all pieces of a content, and compares it with its own hash.
    ///
    /// # Errors
    /// As of [`Medium::copy_piece`], or the pieces make up something else.
    pub fn copy(
        &self,
        content: &Content,
        into: &mut dyn Write,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        // The hash of a single piece is that of the content.
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

    /// Reads every piece of the given contents and every file beside the manifest, several
    /// concurrently, and returns what cannot be used, in the order of the manifest.
    ///
    /// # Errors
    /// The run was stopped.
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

    /// Reads the manifest of the medium's folder and the files beside it, and returns what is wrong
    /// with them. A volume that travelled alone has none.
    pub fn examine_files(&self) -> Vec<Damage> {
        let Some(root) = &self.root else {
            return Vec::new();
        };
        // A volume may have supplied the manifest that is used.
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

    /// Returns the medium with the pieces of a replacement. They are compared with their hashes as
    /// its own are.
    #[must_use]
    pub fn with_pieces_of(mut self, replacement: &Self) -> Self {
        let folders = replacement.volumes.iter();
        self.volumes
            .extend(folders.map(|(_, folder)| (None, folder.clone())));
        self
    }

    /// Returns the medium with a folder of pieces that is not on it: what was kept of a stream,
    /// `pieces/ab/ab12..`.
    #[must_use]
    pub fn with_folder(mut self, folder: &Utf8Path) -> Self {
        self.volumes.push((None, folder.to_owned()));
        self
    }
}

/// Returns whether this user must not look at a path.
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
