//! Looks at a bundle without expecting anything of its form, and reports what it contains. Only the
//! bundle's own gzip and tar must hold; an archive that does not is one of the findings.

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

/// The reference under which an archive is read to see what is in it.
const PLACEHOLDER: (&str, &str) = ("survey", "survey");

/// What is in a bundle, whatever its form.
#[derive(Debug)]
pub struct Survey {
    /// The size of the compressed bundle in bytes.
    pub size: u64,
    /// The sha256 of the compressed bundle, 64 hexadecimal digits.
    pub sha256: String,
    /// The archives, in the order of the bundle.
    pub archives: Vec<SurveyedArchive>,
    /// The path of the release matrix, if there is one.
    pub release_matrix: Option<String>,
    /// The number of other files.
    pub other_files: u64,
}

/// What is in one archive.
#[derive(Debug)]
pub struct SurveyedArchive {
    /// Its path in the bundle.
    pub path: String,
    /// What its file name says.
    pub name: Result<Name, NameError>,
    /// The roots that its `index.json` lists.
    pub roots: Vec<SurveyedRoot>,
    /// The media types of its manifests and indexes.
    pub media_types: BTreeSet<String>,
    /// The platforms of its images.
    pub platforms: BTreeSet<String>,
    /// What kind of thing it is, if it could be read.
    pub kind: Option<Kind>,
    /// What kept it from being read.
    pub fault: Option<ArchiveError>,
}

/// A root of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedRoot {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// What its writer calls it: a tag, or a reference.
    pub called: Option<String>,
}

/// Reads the bundle in `bundle` to its end and returns its contents. Nothing is kept.
///
/// # Errors
/// When the bundle is not a whole gzip'd tar, or cannot be read.
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
            // A thread pair an archive: what an archive leaves behind in the middle does not reach
            // the next one.
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
    let mut nothing_kept = Inspection;
    let mut reader = ArchiveReader::new(pipeline, None, &mut nothing_kept);
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
            called: root.annotations.as_ref().and_then(|annotations| {
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
