//! Recognises a medium on one or several disks. Nothing of it is used before its signature is
//! checked.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::layout::{MANIFEST, SIGNATURE, VOLUME, VOLUMES};
use crate::piece::sha256;
use crate::signature::{self, SignatureError, Signer};
use crate::{Error, Manifest, Medium, Signers};

/// The content of `volume.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct VolumeFile {
    /// Version of the format.
    format: u32,
    /// SHA-256 of the manifest.
    pack: String,
    /// Number of the volume, from 1.
    volume: u32,
    /// Number of volumes of the pack.
    volumes: u32,
}

impl VolumeFile {
    pub(crate) fn new(manifest: &Manifest, bytes: &[u8], volume: u32) -> Self {
        Self {
            format: Manifest::FORMAT,
            pack: sha256(bytes),
            volume,
            volumes: manifest.volumes.len() as u32,
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let yaml =
            redaction::yaml::write(self, &[]).map_err(|source| Error::Manifest { source })?;
        Ok(yaml.into_bytes())
    }

    fn read(folder: &Utf8Path) -> Option<Self> {
        let text = files::read_text(folder.join(VOLUME)).ok()?;
        redaction::yaml::read_lines(&text).ok()
    }
}

/// A medium that was recognised but is not trusted yet. Its contents cannot be read.
#[derive(Debug, Clone)]
pub struct Found {
    manifest: Vec<u8>,
    signatures: Vec<String>,
    root: Option<Utf8PathBuf>,
    volumes: Vec<(Option<u32>, Utf8PathBuf)>,
}

/// Recognises a medium in folders. Each folder may be a medium or a single volume, in any order.
///
/// # Errors
/// A folder has no part of a medium, folders belong to different packs, or every copy of the
/// manifest is damaged.
pub fn find(folders: &[Utf8PathBuf]) -> Result<Found, Error> {
    let mut root = None;
    let mut volumes = Vec::new();
    for folder in folders {
        if !folder.exists() {
            return Err(Error::NoFolder {
                path: folder.clone(),
            });
        }
        if folder.is_file() {
            return Err(Error::File {
                path: folder.clone(),
            });
        }
        let before = volumes.len();
        if folder.join(VOLUME).exists() {
            volumes.push(folder.clone());
        }
        volumes.extend(inner(&folder.join(VOLUMES))?);
        let is_root = folder.join(MANIFEST).exists() && !folder.join(VOLUME).exists();
        if is_root {
            root.get_or_insert_with(|| folder.clone());
        }
        if volumes.len() == before && !is_root {
            return Err(Error::NotFound {
                path: folder.clone(),
            });
        }
    }
    let first = folders.first().cloned().unwrap_or_default();
    let places: Vec<&Utf8PathBuf> = root.iter().chain(&volumes).collect();
    // The pack is the one that most copies name, so a single damaged copy is outvoted.
    let named = |folder: &Utf8Path| VolumeFile::read(folder).map(|file| file.pack);
    let mut copies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    let mut certain: Vec<(String, &Utf8PathBuf)> = Vec::new();
    for place in &places {
        let copy = files::read(place.join(MANIFEST)).ok();
        let hash = copy.as_deref().map(sha256);
        let pack = named(place);
        // The pack of a volume is certain if both of its files agree.
        if let Some(pack) = pack.clone().filter(|pack| Some(pack) == hash.as_ref()) {
            certain.push((pack, place));
        }
        for vote in pack.iter().chain(&hash) {
            *votes.entry(vote.clone()).or_default() += 1;
        }
        if let (Some(copy), Some(hash)) = (copy, hash) {
            copies.insert(hash, copy);
        }
    }
    if let Some((pack, first)) = certain.first()
        && let Some((_, path)) = certain.iter().find(|(other, _)| other != pack)
    {
        return Err(Error::OtherPack {
            path: (*path).clone(),
            first: (*first).clone(),
        });
    }
    let elected = votes
        .iter()
        .filter(|(pack, _)| copies.contains_key(*pack))
        .max_by_key(|(_, votes)| **votes);
    let Some(manifest) = elected.and_then(|(pack, _)| copies.remove(pack)) else {
        return Err(Error::NoManifest { path: first });
    };
    let mut signatures: Vec<String> = places
        .iter()
        .filter_map(|place| files::read_text(place.join(SIGNATURE)).ok())
        .collect();
    signatures.dedup();
    let number = |folder: &Utf8PathBuf| match VolumeFile::read(folder) {
        Some(file) => Some(file.volume),
        // Of an unreadable folder, only the name is known.
        None if crate::medium::is_refused(&folder.join(VOLUME)) => {
            folder.file_name().and_then(|name| name.parse().ok())
        }
        None => None,
    };
    let volumes = volumes
        .iter()
        .map(|folder| (number(folder), folder.clone()));
    Ok(Found {
        manifest,
        signatures,
        root,
        volumes: volumes.collect(),
    })
}

/// Groups folders by pack, as far as a volume in them names it with certainty. The other folders
/// are in the first group.
///
/// # Errors
/// A folder cannot be read.
pub fn packs(folders: &[Utf8PathBuf]) -> Result<Vec<Vec<Utf8PathBuf>>, Error> {
    let mut groups: Vec<(Option<String>, Vec<Utf8PathBuf>)> = Vec::new();
    for folder in folders {
        let mut volumes = inner(&folder.join(VOLUMES))?;
        volumes.push(folder.clone());
        let named = |volume: &Utf8PathBuf| {
            let pack = VolumeFile::read(volume)?.pack;
            let copy = files::read(volume.join(MANIFEST)).ok()?;
            (sha256(&copy) == pack).then_some(pack)
        };
        let pack = volumes.iter().find_map(named);
        match groups.iter_mut().find(|(known, _)| *known == pack) {
            Some((_, group)) => group.push(folder.clone()),
            None => groups.push((pack, vec![folder.clone()])),
        }
    }
    let (mut groups, unnamed): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|(pack, _)| pack.is_some());
    if let Some((_, first)) = groups.first_mut() {
        first.extend(unnamed.into_iter().flat_map(|(_, group)| group));
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// Returns the folders of the volumes, sorted.
fn inner(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("read", folder)(source)),
    };
    // `is_dir` follows links: a link may lead to a disk.
    let mut found: Vec<Utf8PathBuf> = entries
        .flatten()
        .map(camino::Utf8DirEntry::into_path)
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

impl Found {
    /// Returns the medium of a stream's first files.
    pub(crate) fn in_stream(manifest: Vec<u8>, signature: Option<String>) -> Self {
        Self {
            manifest,
            signatures: signature.into_iter().collect(),
            root: None,
            volumes: Vec::new(),
        }
    }

    /// Returns the name of the pack: the SHA-256 of its manifest.
    pub fn pack(&self) -> String {
        sha256(&self.manifest)
    }

    /// Returns whether a signature exists. It may be invalid, or by any key.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Returns the key whose signature of the manifest is valid. The key need not be trusted.
    ///
    /// # Errors
    /// [`SignatureError`] if no signature of this manifest is valid.
    pub fn signer(&self) -> Result<Signer, SignatureError> {
        let mut first = SignatureError::Missing;
        for text in &self.signatures {
            match signature::signer(&self.manifest, text) {
                Ok(signer) => return Ok(signer),
                Err(error) if matches!(first, SignatureError::Missing) => first = error,
                Err(_) => {}
            }
        }
        Err(first)
    }

    /// Trusts the medium if a permitted key signed its manifest.
    ///
    /// # Errors
    /// [`Error::Signature`] if the signature is missing, invalid or by an unknown key, and the
    /// errors of [`Manifest::parse`].
    pub fn trust(&self, signers: &Signers) -> Result<Medium, Error> {
        let signer = self.signer()?;
        if !signers.permits(&signer) {
            return Err(SignatureError::Unknown { signer }.into());
        }
        self.medium(Some(signer))
    }

    /// Trusts the medium if the key with this fingerprint, which an operator confirmed, signed its
    /// manifest.
    ///
    /// # Errors
    /// The errors of [`Found::trust`].
    pub fn trust_fingerprint(&self, fingerprint: &str) -> Result<Medium, Error> {
        let signer = self.signer()?;
        if signer.fingerprint() != fingerprint {
            return Err(SignatureError::Unknown { signer }.into());
        }
        self.medium(Some(signer))
    }

    /// Trusts a medium without a signature, which the operator permitted.
    ///
    /// # Errors
    /// [`SignatureError::Present`] if it has a signature, and the errors of [`Manifest::parse`].
    pub fn trust_unsigned(&self) -> Result<Medium, Error> {
        match self.is_signed() {
            true => Err(SignatureError::Present.into()),
            false => self.medium(None),
        }
    }

    fn medium(&self, signer: Option<Signer>) -> Result<Medium, Error> {
        Ok(Medium {
            manifest: Manifest::parse(&self.manifest)?,
            pack: self.pack(),
            signer,
            root: self.root.clone(),
            volumes: self.volumes.clone(),
        })
    }
}
