//! Reads the files of a packed chart that are of use here, and those of the charts in it, within
//! bounds. Nothing is unpacked.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// The most that is inflated of a chart with all that is in it, in bytes.
pub(super) const LARGEST_CHART: u64 = 64 << 20;

/// The most files that are looked at.
const MOST_FILES: usize = 10_000;

/// The largest text that is read, in bytes.
const LARGEST_TEXT: u64 = 2 << 20;

/// How deep packed charts may lie in packed charts.
const DEEPEST: usize = 3;

/// What a file of a chart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its name, version and dependencies.
    Metadata,
    Values,
    Template,
}

/// Calls `visit` with the path, the kind and the text of each file. A chart that is packed in it is
/// visited as if it were unpacked there. Returns whether something was left out because a bound was
/// reached or it could not be read.
pub(super) fn each_file(chart: impl Read, visit: &mut dyn FnMut(&str, Kind, Vec<u8>)) -> bool {
    let mut bounds = Bounds {
        files: 0,
        left: LARGEST_CHART,
        is_cut: false,
    };
    each_file_below("", chart, visit, &mut bounds, 1);
    bounds.is_cut
}

/// What all charts within one share.
struct Bounds {
    files: usize,
    left: u64,
    is_cut: bool,
}

fn each_file_below(
    folder: &str,
    chart: impl Read,
    visit: &mut dyn FnMut(&str, Kind, Vec<u8>),
    bounds: &mut Bounds,
    depth: usize,
) {
    // Boxed, since a chart in a chart is read by the same code.
    let inflated: Box<dyn Read + '_> = Box::new(MultiGzDecoder::new(chart));
    let mut archive = tar::Archive::new(Bounded {
        inner: inflated,
        left: &mut bounds.left,
    });
    let Ok(entries) = archive.entries() else {
        bounds.is_cut = true;
        return;
    };
    let mut packed = Vec::new();
    let mut base = None;
    for entry in entries {
        let Ok(mut entry) = entry else {
            bounds.is_cut = true;
            break;
        };
        bounds.files += 1;
        if bounds.files > MOST_FILES {
            bounds.is_cut = true;
            return;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((own, below)) = below_base(&path) else {
            bounds.is_cut |= entry.header().entry_type().is_file() && !path.ends_with('/');
            continue;
        };
        // Helm takes every folder at the top for that of the chart.
        let path = format!("{}/{below}", base.get_or_insert(own));
        let is_packed = packed_in(&path);
        let kind = kind_of(&path);
        if is_packed.is_none() && kind.is_none() || !entry.header().entry_type().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        let read = entry
            .by_ref()
            .take(LARGEST_TEXT + 1)
            .read_to_end(&mut bytes);
        if read.is_err() || bytes.len() as u64 > LARGEST_TEXT {
            bounds.is_cut = true;
            continue;
        }
        match (is_packed, kind) {
            (Some(_), _) if depth >= DEEPEST => bounds.is_cut = true,
            (Some(inner), _) => packed.push((format!("{folder}{inner}"), bytes)),
            (None, Some(kind)) => visit(&format!("{folder}{path}"), kind, bytes),
            (None, None) => {}
        }
    }
    drop(archive);
    for (folder, chart) in packed {
        each_file_below(&folder, chart.as_slice(), visit, bounds, depth + 1);
    }
}

/// A reader that ends after this many bytes, which all charts within one share.
struct Bounded<'a, R> {
    inner: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if *self.left == 0 {
            return Err(std::io::Error::other("the chart is too large"));
        }
        let most = usize::try_from(*self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        *self.left -= read as u64;
        Ok(read)
    }
}

/// Returns the folder at the top of a packed chart, and the path below it, as Helm reads both;
/// nothing if Helm refuses the path.
pub(crate) fn below_base(path: &str) -> Option<(String, String)> {
    let delimiter = if path.contains('\\') { '\\' } else { '/' };
    let (base, below) = path.split_once(delimiter)?;
    let below = below.replace(delimiter, "/");
    if base == "Chart.yaml" || below.starts_with('/') {
        return None;
    }
    let mut parts = Vec::new();
    for part in below.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let is_drive =
        |part: &str| matches!(part.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    let is_refused = parts.is_empty() || parts.len() > 1 && is_drive(parts[0]);
    (!is_refused).then(|| (base.to_owned(), parts.join("/")))
}

/// Returns the folder of a packed chart in a chart, with its slash.
fn packed_in(path: &str) -> Option<&str> {
    let (folder, name) = path.split_at(path.rfind('/')? + 1);
    (folder.ends_with("/charts/") && name.ends_with(".tgz")).then_some(folder)
}

/// Returns what a file of a chart is by its path, which is used for nothing else.
fn kind_of(path: &str) -> Option<Kind> {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let is_template = parts.any(|folder| folder == "templates");
    let is_yaml = [".yaml", ".yml", ".tpl"]
        .iter()
        .any(|end| name.ends_with(end));
    match name {
        _ if is_template => is_yaml.then_some(Kind::Template),
        "values.yaml" => Some(Kind::Values),
        "Chart.yaml" | "requirements.yaml" => Some(Kind::Metadata),
        _ => None,
    }
}
