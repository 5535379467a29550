//! Surveys a bundle of unknown form. Only the bundle's own gzip and tar must be valid; a broken
//! archive is a finding.

use std::collections::BTreeSet;
use std::io::Read;

use oci_spec::image::Digest;

use crate::ahead::Ahead;
use crate::archive::{ArchiveError, ArchiveReader, Fault};
use crate::event::Observer;
use crate::gzip::{Gunzip, StreamFault};
use crate::lock::Kind;
use crate::name::{Name, NameError, base_name};
use crate::pipeline::Pipeline;
use crate::read::{Place, ReadError, is_matrix, stream_error};
use crate::sink::Inspection;
use crate::tarball::{self, End, Member};

/// Repository and tag for reading an archive whose own are not known.
const PLACEHOLDER: (&str, &str) = ("survey", "survey");

/// Content of a bundle of unknown form.
#[derive(Debug)]
pub struct Survey {
    /// Size of the compressed bundle in bytes.
    pub size: u64,
    /// SHA-256 of the compressed bundle, 64 hexadecimal digits.
    pub sha256: String,
    /// Archives, in the order of the bundle.
    pub archives: Vec<SurveyedArchive>,
    /// Path of the release matrix, if there is one.
    pub release_matrix: Option<String>,
    /// Number of other files.
    pub other_files: u64,
}

/// Content of one archive.
#[derive(Debug)]
pub struct SurveyedArchive {
    /// Path in the bundle.
    pub path: String,
    /// Repository and tag that the file name encodes.
    pub name: Result<Name, NameError>,
    /// Roots in `index.json`.
    pub roots: Vec<SurveyedRoot>,
    /// Media types of all manifests and indexes.
    pub media_types: BTreeSet<String>,
    /// Platforms of all images.
    pub platforms: BTreeSet<String>,
    /// Kind of the first root that could be read.
    pub kind: Option<Kind>,
    /// The fault, if the archive or one of its roots could not be read.
    pub fault: Option<ArchiveError>,
}

/// A root of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedRoot {
    /// Digest of the root manifest.
    pub digest: Digest,
    /// Media type of the root manifest.
    pub media_type: String,
    /// Name in its annotations: a tag or a reference.
    pub name: Option<String>,
}

/// Reads the bundle in `bundle` to its end and returns its content. Nothing is stored.
///
/// # Errors
/// [`ReadError`] if the bundle is not a complete gzip'd tar, or cannot be read.
pub fn survey(bundle: impl Read + Send, observer: &dyn Observer) -> Result<Survey, ReadError> {
    std::thread::scope(|scope| {
        let thread = |source| ReadError::Thread { source };
        let mut stream = Gunzip::new(Ahead::start(scope, bundle).map_err(thread)?, observer);
        let mut found = Survey {
            size: 0,
            sha256: String::new(),
            archives: Vec::new(),
            release_matrix: None,
            other_files: 0,
        };
        let walked = tarball::walk::<Fault>(&mut stream, End::Required, &mut |member| {
            if member.kind.is_dir() || member.kind.is_pax_global_extensions() {
                return Ok(());
            }
            let path = String::from_utf8_lossy(&member.path).into_owned();
            if !base_name(&path).to_ascii_lowercase().contains(".tar") {
                match member.kind.is_file() && is_matrix(&path) {
                    true => found.release_matrix = Some(path),
                    false => found.other_files += 1,
                }
                return Ok(());
            }
            // Each archive has its own pipeline, so blobs of an archive that failed in the middle
            // do not reach the next one.
            let pipeline = Pipeline::start(scope)?;
            found.archives.push(archive(pipeline, member, path)?);
            Ok(())
        });
        walked.map_err(|fault| match fault {
            Fault::Io(error) => stream_error(error, Place::Start),
            Fault::Archive(source) => ReadError::Archive {
                archive: String::new(),
                source,
            },
            Fault::Sink(source) => ReadError::Sink {
                place: Place::Start,
                source,
            },
        })?;
        (found.size, found.sha256) = stream
            .finish()
            .expect("a stream that was read to its end has been hashed");
        Ok(found)
    })
}

fn archive(
    pipeline: Pipeline,
    member: &mut Member<'_>,
    path: String,
) -> Result<SurveyedArchive, Fault> {
    let mut found = SurveyedArchive {
        name: Name::decode(&path),
        path,
        roots: Vec::new(),
        media_types: BTreeSet::new(),
        platforms: BTreeSet::new(),
        kind: None,
        fault: None,
    };
    let mut sink = Inspection;
    let mut reader = ArchiveReader::new(pipeline, None, &mut sink);
    let layout = reader.layout(member, &found.path).and_then(|layout| {
        reader.pipeline.wait_until_hashed()?;
        Ok(layout)
    });
    let layout = match layout {
        Ok(layout) => layout,
        Err(Fault::Io(error)) => match StreamFault::of(error) {
            Ok(fault) => return Err(std::io::Error::from(fault).into()),
            Err(source) => {
                found.fault = Some(ArchiveError::Tar { source });
                return Ok(found);
            }
        },
        Err(Fault::Archive(error)) => {
            found.fault = Some(error);
            return Ok(found);
        }
        Err(fault @ Fault::Sink(_)) => return Err(fault),
    };
    let (repository, tag) = PLACEHOLDER;
    let name = Name::new(repository, tag).expect("the placeholder follows the grammar");
    found.roots = (layout.roots().iter())
        .map(|root| SurveyedRoot {
            digest: root.digest.clone(),
            media_type: root.media_type.to_string(),
            name: root.annotations.as_ref().and_then(|annotations| {
                let reference = annotations.image_name.as_ref();
                reference.or(annotations.ref_name.as_ref()).cloned()
            }),
        })
        .collect();
    let choices = match found.roots.is_empty() {
        true => vec![None],
        false => found
            .roots
            .iter()
            .map(|root| Some(root.digest.clone()))
            .collect(),
    };
    for choice in choices {
        match layout.artifact(&found.path, &name, choice.as_ref()) {
            Ok((artifact, _)) => {
                found.kind = found.kind.or(Some(artifact.kind));
                for manifest in &artifact.manifests {
                    found.media_types.insert(manifest.media_type.to_string());
                    found.platforms.extend(manifest.platform.clone());
                }
            }
            Err(error) => found.fault = Some(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
