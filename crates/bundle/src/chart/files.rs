//! Reads the relevant files of a packed chart and its subcharts, within bounds. Nothing is unpacked
//! to disk.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Maximum number of bytes inflated of a chart, subcharts included.
pub(super) const LARGEST_CHART: u64 = 64 << 20;

/// Maximum number of files, subcharts included.
const MOST_FILES: usize = 10_000;

/// Maximum size of a file in bytes.
const LARGEST_TEXT: u64 = 2 << 20;

/// Maximum depth of packed charts in packed charts.
const DEEPEST: usize = 3;

/// Type of a chart's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `Chart.yaml` or `requirements.yaml`: name, version and dependencies.
    Metadata,
    Values,
    Template,
}

/// Calls `visit` with path, kind and content of each relevant file. A packed subchart is visited as
/// if it were unpacked in its folder. Returns whether a part was skipped, because a bound was
/// reached or it could not be read.
pub(super) fn each_file(chart: impl Read, visit: &mut dyn FnMut(&str, Kind, Vec<u8>)) -> bool {
    let mut bounds = Bounds {
        files: 0,
        remaining: LARGEST_CHART,
        is_cut: false,
    };
    each_file_below("", chart, visit, &mut bounds, 1);
    bounds.is_cut
}

/// Counters that all subcharts share.
struct Bounds {
    files: usize,
    remaining: u64,
    is_cut: bool,
}

fn each_file_below(
    folder: &str,
    chart: impl Read,
    visit: &mut dyn FnMut(&str, Kind, Vec<u8>),
    bounds: &mut Bounds,
    depth: usize,
) {
    // Boxed, because this function is recursive and the type would be infinite.
    let inflated: Box<dyn Read + '_> = Box::new(MultiGzDecoder::new(chart));
    let mut archive = tar::Archive::new(Bounded {
        inner: inflated,
        remaining: &mut bounds.remaining,
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
        // Helm takes any top folder for that of the chart.
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

/// A reader that fails after the remaining number of bytes, which all subcharts share.
struct Bounded<'a, R> {
    inner: R,
    remaining: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if *self.remaining == 0 {
            return Err(std::io::Error::other("the chart is too large"));
        }
        let limit = usize::try_from(*self.remaining).unwrap_or(usize::MAX);
        let limit = limit.min(buffer.len());
        let read = self.inner.read(&mut buffer[..limit])?;
        *self.remaining -= read as u64;
        Ok(read)
    }
}

/// Returns the top folder and the path below it like Helm splits them; `None` if Helm refuses the
/// path.
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

/// Returns the folder of a packed subchart, with its slash; `None` for other paths.
fn packed_in(path: &str) -> Option<&str> {
    let (folder, name) = path.split_at(path.rfind('/')? + 1);
    (folder.ends_with("/charts/") && name.ends_with(".tgz")).then_some(folder)
}

/// Returns the type of a file by its path; `None` if it is not relevant.
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
