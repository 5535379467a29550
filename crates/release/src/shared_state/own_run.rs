//! A file with the name of this checkout's unfinished run: it has written its mark to the registry,
//! and no receipt yet.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::workspace::{Output, read_if_exists, remove_if_exists, write_atomically};
use crate::{Context, Error, sha256};

/// Returns a random name for a run: 64 hexadecimal digits.
pub(super) fn new(context: &Context<'_>) -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let random: Vec<u64> = (0..4)
        .map(|_| RandomState::new().build_hasher().finish())
        .collect();
    let now = (context.tool.now)();
    sha256(format!("{now} {} {random:?}", std::process::id()).as_bytes())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OwnRun {
    run: String,
}

fn path(output: &Output) -> Utf8PathBuf {
    output.logs.join("unfinished-run.yaml")
}

/// Returns the run's name; `None` if the file is missing, or invalid because a crash cut it.
pub(super) fn read(output: &Output) -> Option<String> {
    let text = read_if_exists(&path(output)).ok()??;
    let own: OwnRun = serde_yaml::from_str(&text).ok()?;
    Some(own.run)
}

pub(super) fn write(output: &Output, run: &str) -> Result<(), Error> {
    write_atomically(&path(output), &format!("run: {run}\n"))
}

pub(super) fn remove(output: &Output) -> Result<(), Error> {
    remove_if_exists(&path(output))
}
