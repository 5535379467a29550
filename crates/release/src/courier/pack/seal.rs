//! Creates and signs the manifest of the collected contents.

use camino::Utf8PathBuf;
use medium::{Assumed, Manifest, RootFile, Served, Source, What};

use super::{Amount, Error, Options, Pack, Scratch, Summary, signature, summary};
use crate::Context;
use crate::event::Event;

/// The collected contents of a medium.
pub(super) struct Draft {
    pub(super) scratch: Scratch,
    pub(super) serves: Served,
    pub(super) assumes: Assumed,
    /// Text of `START.txt`.
    pub(super) start: String,
    /// Path of the program. It is placed beside `START.txt` if it is among the sources.
    pub(super) program: Utf8PathBuf,
    /// Oldest glibc that the program runs on.
    pub(super) glibc: Option<String>,
    pub(super) sources: Vec<Source>,
}

impl Draft {
    /// Distributes the pieces over volumes, and creates and signs the manifest.
    ///
    /// # Errors
    /// A piece is larger than a volume, or the manifest cannot be signed.
    pub(super) fn seal(
        mut self,
        context: &Context<'_>,
        options: &Options,
    ) -> Result<Pack, crate::Error> {
        let wrong = |source| Error::Medium { source };
        let root = RootFile::of(medium::START, self.start.as_bytes());
        let of_program = program_file(&self.sources);
        let first = root.size + of_program.as_ref().map_or(0, |file| file.size);
        let blobs = &self.assumes.blobs;
        let assumed = Amount {
            what: "blobs",
            files: blobs.len(),
            bytes: blobs.iter().map(|blob| blob.size).sum(),
        };
        let volumes = medium::split(&mut self.sources, options.volume, first, blobs.len() as u64)
            .map_err(wrong)?;
        if let Some(volume) = options.volume.filter(|volume| first > *volume) {
            let size = |bytes| bytesize::ByteSize(bytes).display().si();
            context.reporter.report(Event::Warning(format!(
                "{} and {} have {} together, more than a volume of {}; they need a larger disk",
                medium::PROGRAM,
                medium::START,
                size(first),
                size(volume)
            )));
        }
        let program = of_program.is_some().then_some(self.program);
        let contents = self.sources.iter().map(|source| source.content.clone());
        let manifest = Manifest {
            format: Manifest::FORMAT,
            airlock: context.tool.version.clone(),
            serves: self.serves,
            assumes: self.assumes,
            files: std::iter::once(root).chain(of_program).collect(),
            volumes,
            contents: contents.collect(),
        };
        let bytes = manifest.to_bytes().map_err(wrong)?;
        let (signature, signed_by) = match &options.sign {
            Some(key) if !options.dry_run => {
                let folder = &self.scratch.folder;
                let (signature, signer) = signature::sign(context, key, &bytes, folder)?;
                (Some(signature), Some(signer.fingerprint()))
            }
            _ => (None, None),
        };
        let summary = Summary {
            pack: crate::sha256(&bytes),
            environments: manifest.serves.environments.clone(),
            signed_by,
            glibc: self.glibc,
            contents: summary::amounts(&manifest.contents),
            bytes: manifest.size(),
            volumes: manifest.volumes.iter().map(|volume| volume.size).collect(),
            assumed,
            because: manifest.assumes.because.clone(),
        };
        Ok(Pack {
            manifest,
            bytes,
            signature,
            start: self.start,
            program,
            sources: self.sources,
            _scratch: self.scratch,
            summary,
        })
    }
}

/// Returns the manifest entry of the program beside `START.txt`.
fn program_file(sources: &[Source]) -> Option<RootFile> {
    let mut programs = sources
        .iter()
        .filter(|source| matches!(source.content.what, What::Program { .. }));
    programs.next().map(|source| RootFile {
        name: medium::PROGRAM.to_owned(),
        sha256: source.content.sha256.clone(),
        size: source.content.size,
    })
}
