//! Surveys a real bundle and a real mkectl, and records their facts in
//! `environments/facts/<release>.yaml`, which overlays the table of releases. The file has no
//! paths, hosts or users of this machine.

use std::collections::BTreeMap;

use bundle::name::Name;
use bundle::{ArchiveError, Rule, Rules, Survey, SurveyedArchive};
use camino::{Utf8Path, Utf8PathBuf};
use mke::observations::{
    ARCHIVE_PROBLEM, Exception, NAME_PROBLEM, ObservedBundle, ObservedMkectl, ROOTS_PROBLEM,
    checksum_form,
};
use mke::{Contradiction, Observations, ObservationsError};
use semver::Version;

use crate::config::render;
use crate::event::{Event, Remediable, Step};
use crate::observe::BundleObserver;
use crate::transfer::program;
use crate::transfer::read::report_start;
use crate::workspace::{DEFAULT_ARCH, read_if_exists, write_atomically};
use crate::{Context, workspace};

mod error;

pub use error::Error;

/// Bundle and mkectl to survey.
#[derive(Debug, Clone)]
pub struct Request {
    /// Release to learn.
    pub release: Version,
    /// Architecture of the bundle [default: [`DEFAULT_ARCH`]].
    pub arch: Option<String>,
    /// Path of the bundle [default: the one in `bundles/`].
    pub bundle: Option<Utf8PathBuf>,
    /// Checksum file of the bundle, as the vendor publishes it.
    pub checksum: Option<Utf8PathBuf>,
    /// Whether to accept a bundle that contradicts the release.
    pub force_release: bool,
    /// Path of mkectl [default: the fetched one, or the one on PATH].
    pub mkectl: Option<Utf8PathBuf>,
}

/// Result of learning a release.
#[derive(Debug)]
pub struct Outcome {
    /// Path of the facts file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Content of the facts file.
    pub observations: Observations,
    /// Whether the file was written. It is not if it already had this content.
    pub written: bool,
    /// Observations that contradict the table of releases.
    pub contradictions: Vec<Contradiction>,
    /// Archives that need a decision in the file before the bundle can be locked.
    pub undecided: Vec<ObservationsError>,
    /// Contradictions as a diff, for a report to the project; empty if there are none.
    pub report: String,
}

/// Learns the facts of a release from its bundle and its mkectl.
///
/// # Errors
/// [`Error::Nothing`] if there is neither, [`Error::OtherBundle`] or [`Error::OtherMkectl`] if one
/// is of a different release; also if one of them cannot be read.
pub fn learn(context: &Context<'_>, request: &Request) -> Result<Outcome, crate::Error> {
    let workspace = context.workspace;
    let known = workspace.release(&request.release)?;
    let earlier = known.observations().cloned();
    let arch = request.arch.as_deref().unwrap_or(DEFAULT_ARCH);
    let mut observations = earlier.clone().unwrap_or_else(|| Observations {
        release: format!("v{}", request.release),
        ..Observations::default()
    });

    let path = match &request.bundle {
        Some(path) => Some(path.clone()),
        None => Some(workspace.bundle(&known.bundle_file(arch))).filter(|path| path.exists()),
    };
    let mkectl = mkectl(context, request)?;
    if path.is_none() && mkectl.is_none() {
        let bundle = workspace.bundle(&known.bundle_file(arch));
        return Err(Error::Nothing {
            release: format!("v{}", request.release),
            bundle: workspace.shown(&bundle).to_owned(),
        }
        .into());
    }
    if let Some(path) = path {
        let before = earlier.as_ref().and_then(|it| it.bundles.get(arch));
        let survey = survey(context, &path)?;
        if survey.archives.is_empty() {
            let bundle = workspace.shown(&path).to_owned();
            return Err(Error::NoArchives { bundle }.into());
        }
        let name = path.file_name().unwrap_or_default();
        require_release(context, request, arch, name, &survey)?;
        let mut seen = observed(&survey, name, before);
        // A file whose name lacks the release was renamed on this machine.
        if !seen.file.contains(&request.release.to_string()) {
            seen.file = known.bundle_file(arch);
        }
        let form = match &request.checksum {
            Some(path) => read_if_exists(path)?.map(|text| checksum_form(&text).to_owned()),
            None => None,
        };
        seen.checksum_form = form.or(before.and_then(|before| before.checksum_form.clone()));
        observations.bundles.insert(arch.to_owned(), seen);
    }
    if let Some(mkectl) = mkectl {
        observations.mkectl = Some(ask(context, &known, &mkectl)?);
    }

    let text = observations.to_yaml();
    // Later steps must be able to read this file.
    Observations::parse(&text, &request.release).map_err(|source| {
        workspace::Error::Observations {
            path: workspace
                .shown(&workspace.facts(&request.release))
                .to_owned(),
            source,
        }
    })?;
    let path = workspace.facts(&request.release);
    let written = read_if_exists(&path)?.as_deref() != Some(&text);
    if written {
        crate::links::refuse_one(workspace, path.parent().unwrap_or(&path))?;
        write_atomically(&path, &text)?;
    }
    let contradictions = observations.contradictions();
    let exceptions = observations.bundles.values().flat_map(|it| &it.exceptions);
    Ok(Outcome {
        path: workspace.shown(&path).to_owned(),
        written,
        undecided: exceptions.filter_map(|it| it.decided().err()).collect(),
        report: report(&observations.release, &contradictions),
        contradictions,
        observations,
    })
}

/// Returns the contradictions as a diff between the table and the observations.
fn report(release: &str, contradictions: &[Contradiction]) -> String {
    if contradictions.is_empty() {
        return String::new();
    }
    let side = |text: &dyn Fn(&Contradiction) -> String| -> String {
        (contradictions.iter())
            .map(|one| format!("{}: {}\n", one.subject, text(one)))
            .collect()
    };
    let known = side(&|one| format!("{} ({})", one.known, one.certainty.name()));
    let observed = side(&|one| format!("{} (observed)", one.observed));
    render::diff(Utf8Path::new(release), Some(&known), &observed)
}

/// Returns rules for those archives of a bundle that do not follow the table, according to the
/// observations.
///
/// # Errors
/// [`workspace::Error::Observations`] if an archive has no decision.
pub(crate) fn rules(
    context: &Context<'_>,
    known: &mke::Release,
    arch: &str,
) -> Result<Rules, crate::Error> {
    let bundle = known.observations().and_then(|it| it.bundles.get(arch));
    let exceptions = bundle.map(|bundle| bundle.exceptions.as_slice());
    let path = context.workspace.facts(known.version());
    let wrong = |source| {
        crate::Error::Workspace(workspace::Error::Observations {
            path: context.workspace.shown(&path).to_owned(),
            source,
        })
    };
    let mut rules = BTreeMap::new();
    for exception in exceptions.unwrap_or_default() {
        let exception = exception.decided().map_err(wrong)?;
        let unusable = |what: &str, text: &str| ObservationsError::Unusable {
            archive: exception.archive.clone(),
            what: what.to_owned(),
            text: text.to_owned(),
        };
        let rule = match &exception.skip {
            Some(reason) => Rule::Skip {
                reason: reason.clone(),
            },
            None => {
                let name = exception.reference.as_ref().map(|reference| {
                    let parts = reference.rsplit_once(':').unwrap_or((reference, ""));
                    Name::new(parts.0, parts.1).map_err(|_| unusable("reference", reference))
                });
                let root = exception
                    .root
                    .as_ref()
                    .map(|root| bundle::sha256_digest(root).map_err(|_| unusable("root", root)));
                Rule::Read {
                    name: name.transpose().map_err(wrong)?,
                    root: root.transpose().map_err(wrong)?,
                }
            }
        };
        rules.insert(exception.archive.clone(), rule);
    }
    Ok(Rules {
        archives: rules,
        of_set: None,
    })
}

/// Refuses a bundle of a different release, because its facts would be recorded for the wrong one.
fn require_release(
    context: &Context<'_>,
    request: &Request,
    arch: &str,
    file: &str,
    survey: &Survey,
) -> Result<(), crate::Error> {
    let artifacts: Vec<mke::identity::Artifact<'_>> = (survey.archives.iter())
        .filter_map(|archive| {
            let name = archive.name.as_ref().ok()?;
            Some(mke::identity::Artifact {
                repository: name.repository(),
                tag: name.tag(),
                is_chart: archive.kind == Some(bundle::Kind::Chart),
                platforms: archive.platforms.iter().map(String::as_str).collect(),
            })
        })
        .collect();
    let evidence = mke::identity::Evidence {
        matrix: None,
        artifacts: &artifacts,
    };
    let (release, named) = (&request.release, mke::identity::contradictions_in_name);
    let mut contradictions = named(release, arch, file);
    contradictions.extend(mke::identity::contradictions(release, arch, evidence));
    if contradictions.is_empty() {
        return Ok(());
    }
    let refusal = Error::OtherBundle {
        release: format!("v{release}"),
        arch: arch.to_owned(),
        contradictions,
    };
    if !request.force_release {
        return Err(crate::Error::Learn(refusal));
    }
    context.reporter.report(Event::Warning(refusal.to_string()));
    Ok(())
}

fn survey(context: &Context<'_>, path: &Utf8Path) -> Result<Survey, crate::Error> {
    let file = files::open(path).map_err(|source| crate::Error::read(path, source))?;
    report_start(context, path);
    let observer = BundleObserver::new(context, Step::Verify);
    let mut survey = tokio::task::block_in_place(|| bundle::survey(file, &observer))
        .map_err(|source| crate::Error::bundle(context.workspace, path, source))?;
    // Facts of a repacked bundle would be recorded as the vendor's.
    for archive in &mut survey.archives {
        if let Some(source) = archive.fault.take_if(|fault| fault.is_repacked()) {
            let archive = archive.path.clone();
            let source = bundle::ReadError::Archive { archive, source };
            return Err(crate::Error::bundle(context.workspace, path, source));
        }
    }
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!(
            "{} read",
            environment::count(survey.archives.len(), "archive")
        ),
    });
    Ok(survey)
}

/// Returns the facts of a bundle, with the decisions about exceptions in `before`.
fn observed(survey: &Survey, file: &str, before: Option<&ObservedBundle>) -> ObservedBundle {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut media_types: BTreeMap<String, usize> = BTreeMap::new();
    let mut platforms = std::collections::BTreeSet::new();
    for archive in &survey.archives {
        let kind = archive
            .kind
            .map_or("unread".to_owned(), |it| it.to_string());
        *kinds.entry(kind).or_default() += 1;
        for media_type in &archive.media_types {
            *media_types.entry(media_type.clone()).or_default() += 1;
        }
        platforms.extend(archive.platforms.iter().cloned());
    }
    let paths = survey.archives.iter().map(|it| it.path.as_str());
    let top_folder = top_folder(paths);
    let exceptions = (survey.archives.iter())
        .filter_map(|archive| exception(archive, &top_folder))
        .map(|found| kept(found, before))
        .collect();
    ObservedBundle {
        file: file.to_owned(),
        size: survey.size,
        sha256: survey.sha256.clone(),
        top_folder,
        kinds,
        media_types,
        platforms: platforms.into_iter().collect(),
        release_matrix: survey.release_matrix.clone(),
        other_files: survey.other_files,
        checksum_form: None,
        exceptions,
    }
}

/// Returns the exception for an archive that does not follow the rules. It has defaults where the
/// archive itself suggests how to read it.
fn exception(archive: &SurveyedArchive, top_folder: &str) -> Option<Exception> {
    let several = archive.roots.len() > 1;
    let problem = match (&archive.fault, &archive.name) {
        (Some(fault), _) if !matches!(fault, ArchiveError::Roots { .. }) => ARCHIVE_PROBLEM,
        (_, Err(_)) => NAME_PROBLEM,
        (_, Ok(_)) if several => ROOTS_PROBLEM,
        _ => return None,
    };
    let reference = match &archive.name {
        Ok(_) => None,
        Err(_) => reference(archive, top_folder),
    };
    let tag = match (&archive.name, &reference) {
        (Ok(name), _) => Some(name.tag()),
        (Err(_), Some(reference)) => reference.rsplit_once(':').map(|(_, tag)| tag),
        (Err(_), None) => None,
    };
    let root = archive.roots.iter().find(|root| {
        let called = root.name.as_deref().unwrap_or_default();
        tag.is_some_and(|tag| called == tag || called.ends_with(&format!(":{tag}")))
    });
    // A damaged archive with the name of an artifact needs a decision.
    let is_other = matches!(
        archive.fault,
        Some(
            ArchiveError::NoLayout { .. } | ArchiveError::NoIndex | ArchiveError::Compressed { .. }
        )
    );
    let skip = (is_other && archive.name.is_err()).then(|| {
        let fault = archive.fault.as_ref();
        fault.map_or_else(String::new, |fault| fault.to_string())
    });
    Some(Exception {
        archive: archive.path.clone(),
        problem: problem.to_owned(),
        reference: reference.filter(|_| skip.is_none()),
        roots: match several {
            true => (archive.roots.iter())
                .map(|root| {
                    let called = root.name.clone();
                    (root.digest.to_string(), called.unwrap_or_default())
                })
                .collect(),
            false => BTreeMap::new(),
        },
        root: (root.filter(|_| several && skip.is_none())).map(|root| root.digest.to_string()),
        skip,
    })
}

/// Returns the most probable `repository:tag` of an archive, from the first of these that has one:
///
/// - a complete reference in its annotations, without the registry's host
/// - its file name, as the vendor writes names
/// - its path below the top folder, split at the last `_`, as in the vendor's k0rdent Enterprise
///   bundle (K0RDENTD)
fn reference(archive: &SurveyedArchive, top_folder: &str) -> Option<String> {
    let named = |repository: &str, tag: &str| {
        let name = Name::new(repository, tag).ok()?;
        Some(name.to_string())
    };
    let mut called = (archive.roots.iter()).filter_map(|root| root.name.as_deref());
    let annotated = called.find_map(|called| {
        let (repository, tag) = called.rsplit_once(':')?;
        match repository.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                named(rest, tag)
            }
            _ => named(repository, tag),
        }
    });
    let path = archive.path.trim();
    let stem = path.get(..path.len().saturating_sub(4)).unwrap_or(path);
    let spelled = || {
        let name = Name::decode(&format!("{stem}.tar")).ok()?;
        Some(name.to_string())
    };
    let below = stem.strip_prefix(top_folder).unwrap_or(stem);
    let below = below.trim_start_matches('/');
    let below = below.strip_prefix("images/").unwrap_or(below);
    let split = || {
        below
            .rsplit_once('_')
            .and_then(|(repository, tag)| named(repository, tag))
    };
    annotated.or_else(spelled).or_else(split)
}

/// Adds the decisions that an earlier file has for the same archive.
fn kept(mut found: Exception, before: Option<&ObservedBundle>) -> Exception {
    let mut earlier = before.into_iter().flat_map(|before| &before.exceptions);
    let same = earlier.find(|it| it.archive == found.archive && it.problem == found.problem);
    if let Some(same) = same {
        found.reference = same.reference.clone().or(found.reference);
        found.root = same.root.clone().or(found.root);
        found.skip = same.skip.clone().or(found.skip);
    }
    found
}

/// Returns the longest common folder of all archives, without a last folder `images` or `charts`.
fn top_folder<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let folders = paths.map(|path| {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let parts: Vec<&str> = folder.split('/').collect();
        match parts.as_slice() {
            [rest @ .., "images" | "charts"] => rest.to_vec(),
            all => all.to_vec(),
        }
    });
    let common = folders.reduce(|common, other| {
        let same = common
            .iter()
            .zip(&other)
            .take_while(|(one, two)| one == two);
        same.map(|(one, _)| *one).collect()
    });
    common.unwrap_or_default().join("/")
}

/// Finds the release's mkectl: the named one, the fetched one, or the one on PATH if it is of this
/// release.
fn mkectl(
    context: &Context<'_>,
    request: &Request,
) -> Result<Option<programs::Mkectl>, crate::Error> {
    let variables = program::neutral_variables(context);
    if let Some(path) = &request.mkectl {
        std::fs::metadata(path).map_err(|source| crate::Error::read(path, source))?;
        let mkectl = programs::Mkectl::at(path, variables)?;
        let found = mkectl.version()?;
        if found != request.release {
            return Err(Error::OtherMkectl {
                program: path.clone(),
                found,
                expected: request.release.clone(),
            }
            .into());
        }
        return Ok(Some(mkectl));
    }
    let fetched = program::fetched(context.workspace, &format!("v{}", request.release));
    let found = match fetched {
        Some(path) => programs::Mkectl::at(path, variables),
        None => programs::Mkectl::find(variables),
    };
    let is_of_release =
        |mkectl: &programs::Mkectl| mkectl.version().is_ok_and(|it| it == request.release);
    Ok(found.ok().filter(is_of_release))
}

/// Runs mkectl for its version and all pages of its help.
fn ask(
    context: &Context<'_>,
    known: &mke::Release,
    mkectl: &programs::Mkectl,
) -> Result<ObservedMkectl, crate::Error> {
    let version = mkectl.version_text()?;
    let pages = mkectl.help_pages()?;
    Ok(ObservedMkectl {
        version: printable(&version),
        sha256: program::archive_hashes(context.workspace, known)?,
        help: (pages.into_iter())
            .map(|(command, page)| (command, printable(&page)))
            .collect(),
    })
}

/// Removes control characters, and replaces tabs by spaces.
fn printable(text: &str) -> String {
    let is_kept = |character: &char| !character.is_control() || *character == '\n';
    let text = text.replace('\t', "    ");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").chars().filter(is_kept).collect()
}

/// Returns each observation of a bundle that contradicts the table. Returns none if the bundle was
/// learned before.
pub(crate) fn unexpected(
    known: &mke::Release,
    arch: &str,
    file: &str,
    contents: &bundle::Contents,
) -> Vec<Remediable> {
    let is_observed = known
        .observations()
        .is_some_and(|it| it.bundles.contains_key(arch));
    if is_observed {
        return Vec::new();
    }
    let mut media_types: BTreeMap<String, usize> = BTreeMap::new();
    for manifest in contents.artifacts.iter().flat_map(|it| &it.manifests) {
        *media_types
            .entry(manifest.media_type.to_string())
            .or_default() += 1;
    }
    let paths = contents.artifacts.iter().map(|it| it.archive.as_str());
    let seen = ObservedBundle {
        file: file.to_owned(),
        size: contents.size,
        sha256: contents.sha256.clone(),
        top_folder: top_folder(paths),
        kinds: BTreeMap::new(),
        media_types,
        platforms: Vec::new(),
        release_matrix: contents.release_matrix.as_ref().map(|it| it.path.clone()),
        other_files: contents.ignored_files,
        checksum_form: None,
        exceptions: Vec::new(),
    };
    let release = format!("v{}", known.version());
    let observations = Observations {
        release: release.clone(),
        bundles: [(arch.to_owned(), seen)].into(),
        mkectl: None,
    };
    program::contradictions(&observations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_folder_is_what_all_archives_share() {
        for (paths, expected) in [
            (
                &["bundles/images/a@1.tar", "bundles/charts/b@1.tar"][..],
                "bundles",
            ),
            (&["bundles/a@1.tar", "bundles/b@1.tar"], "bundles"),
            (&["mke/v4/bundles/images/a@1.tar"], "mke/v4/bundles"),
            (&["images/a@1.tar", "other/b@1.tar"], ""),
            (&["a@1.tar"], ""),
            (&["bundles-x/a@1.tar", "bundles/b@1.tar"], ""),
        ] {
            assert_eq!(top_folder(paths.iter().copied()), expected, "{paths:?}");
        }
    }

    #[test]
    fn help_pages_lose_colours_and_tabs() {
        assert_eq!(
            printable("\u{1b}[1mUsage\u{1b}[0m\tx \r\n\u{7}end\n"),
            "[1mUsage[0m    x\nend"
        );
    }
}
