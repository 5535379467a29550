//! Recognises a medium on one disk or several. Nothing of it is used before its signature is
//! checked.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::layout::{MANIFEST, SIGNATURE, VOLUME, VOLUMES};
use crate::piece::sha256;
use crate::signature::{self, SignatureError, Signer};
use crate::{Error, Manifest, Medium, Signers};

/// Which volume of which pack a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct VolumeFile {
    /// The version of the format.
    format: u32,
    /// The SHA-256 of the manifest.
    pack: String,
    /// The number of the volume.
    volume: u32,
    /// How many volumes the pack has.
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

/// A medium that was recognised and is not trusted yet: nothing can be read from it.
#[derive(Debug, Clone)]
pub struct Found {
    manifest: Vec<u8>,
    signatures: Vec<String>,
    /// The folder with the files beside the manifest, if that is among the folders.
    root: Option<Utf8PathBuf>,
    /// The folders that have pieces, with the number that they claim.
    volumes: Vec<(Option<u32>, Utf8PathBuf)>,
}

/// Recognises a medium in folders. Each may be a medium, or a volume that travelled alone; order
/// does not matter.
///
/// # Errors
/// A folder has nothing of a medium, folders belong to different packs, or no copy of the manifest
/// is undamaged.
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
    // A pack is what most copies name: one damaged copy is outvoted where there are others.
    let named = |folder: &Utf8Path| VolumeFile::read(folder).map(|file| file.pack);
    let mut copies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    let mut whole: Vec<(String, &Utf8PathBuf)> = Vec::new();
    for place in &places {
        let copy = files::read(place.join(MANIFEST)).ok();
        let hash = copy.as_deref().map(sha256);
        let pack = named(place);
        // A volume is of a pack beyond doubt if both of its files say so.
        if let Some(pack) = pack.clone().filter(|pack| Some(pack) == hash.as_ref()) {
            whole.push((pack, place));
        }
        for vote in pack.iter().chain(&hash) {
            *votes.entry(vote.clone()).or_default() += 1;
        }
        if let (Some(copy), Some(hash)) = (copy, hash) {
            copies.insert(hash, copy);
        }
    }
    if let Some((pack, first)) = whole.first()
        && let Some((_, path)) = whole.iter().find(|(other, _)| other != pack)
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
        // Of a folder that must not be read, the name is all that is known.
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

/// Groups folders by the pack that a volume in them names without doubt. Folders without such a
/// volume are in the first group.
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

/// Returns the folders in the folder of all volumes.
fn inner(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("read", folder)(source)),
    };
    // A link may lead to a disk.
    let mut found: Vec<Utf8PathBuf> = entries
        .flatten()
        .map(camino::Utf8DirEntry::into_path)
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

impl Found {
    /// Takes what a stream begins with.
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

    /// Returns whether there is a signature, which may be of any key or wrong.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Returns the key that signed the manifest. Its signature is right; whether it is trusted is
    /// not decided here.
    ///
    /// # Errors
    /// There is no signature, or it is not one of this manifest.
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
    /// The signature is missing, wrong or by an unknown key, or the manifest is not valid.
    pub fn trust(&self, signers: &Signers) -> Result<Medium, Error> {
        let signer = self.signer()?;
        if !signers.permits(&signer) {
            return Err(SignatureError::Unknown { signer }.into());
        }
        self.medium(Some(signer))
    }

    /// Trusts the medium if the key with this fingerprint signed its manifest: an operator has
    /// confirmed it.
    ///
    /// # Errors
    /// As of [`Found::trust`].
    pub fn trust_fingerprint(&self, fingerprint: &str) -> Result<Medium, Error> {
        let signer = self.signer()?;
        if signer.fingerprint() != fingerprint {
            return Err(SignatureError::Unknown { signer }.into());
        }
        self.medium(Some(signer))
    }

    /// Trusts the medium although it has no signature: an operator allowed that.
    ///
    /// # Errors
    /// It has a signature, which must be checked instead, or the manifest is not valid.
    pub fn trust_unsigned(&self) -> Result<Medium, Error> {
        match self.is_signed() {
            true => Err(SignatureError::Present.into()),
            false => self.medium(None),
        }
    }

    fn medium(&self, signer: Option<Signer>) -> Result<Medium, Error> {
        Ok(Medium::new(
            Manifest::parse(&self.manifest)?,
            self.pack(),
            signer,
            self.root.clone(),
            self.volumes.clone(),
        ))
    }
}
