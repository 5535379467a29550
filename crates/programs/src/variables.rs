//! The environment variables of a program.
//!
//! `cargo run` adds variables for its child, this tool. They are not meant for `mkectl`; the
//! library path among them could change what it loads.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// The complete environment of a program.
///
/// Values may be secrets of the operator's shell, so `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Returns `variables` without those that `cargo run` and `rustup` add: `CARGO`, `CARGO_*`,
    /// `RUSTUP_*`, `RUST_*` and the dynamic linker's search paths.
    pub fn inherited<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        Self::filtered(variables, |name| !is_of_cargo(name))
    }

    /// Returns `variables` like [`Variables::inherited`], but keeps `CARGO_HOME`, `RUSTUP_HOME` and
    /// `RUSTUP_TOOLCHAIN`, which a build requires.
    pub fn for_cargo<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        const OWN: &[&str] = &["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        let is_own = |name: &OsStr| name.to_str().is_some_and(|name| OWN.contains(&name));
        Self::filtered(variables, |name| is_own(name) || !is_of_cargo(name))
    }

    fn filtered<N: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
        is_kept: impl Fn(&OsStr) -> bool,
    ) -> Self {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(name, _)| is_kept(name)).collect())
    }

    /// Returns the variables with these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| name.to_str().is_some_and(|name| names.contains(&name)));
        Self(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    /// Returns the value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Sets a variable. Use [`Command::secret`](crate::Command::secret) for secrets.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes a variable, such as a secret that the program does not need.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(OsStr::new(name));
    }

    /// Returns names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

fn is_of_cargo(name: &OsStr) -> bool {
    const NAMES: &[&str] = &[
        "CARGO",
        "DYLD_FALLBACK_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "LD_LIBRARY_PATH",
    ];
    const PREFIXES: &[&str] = &["CARGO_", "RUSTUP_", "RUST_"];
    name.to_str().is_some_and(|name| {
        NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_gets_the_variables_by_which_cargo_finds_its_files() {
        let variables = Variables::for_cargo([
            ("CARGO_HOME", "/usr/local/cargo"),
            ("CARGO_PKG_NAME", "xtask"),
            ("LD_LIBRARY_PATH", "/lib"),
            ("PATH", "/bin"),
        ]);
        let names: Vec<_> = variables.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["CARGO_HOME", "PATH"]);
    }

    #[test]
    fn only_the_variables_of_cargo_are_left_out() {
        let variables = Variables::inherited([
            ("PATH", "/bin"),
            ("HOME", "/root"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("CARGOES", "kept"),
            ("RUSTIC", "kept"),
            ("CARGO", "x"),
            ("CARGO_MANIFEST_DIR", "x"),
            ("RUSTUP_TOOLCHAIN", "x"),
            ("RUST_BACKTRACE", "x"),
            ("RUST_LOG", "x"),
            ("LD_LIBRARY_PATH", "x"),
        ]);
        let names: Vec<_> = variables.iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["CARGOES", "HOME", "PATH", "RUSTIC", "SSH_AUTH_SOCK"]
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let variables = Variables::inherited([("PROD_REGISTRY_PASSWORD", "hunter2")]);
        assert_eq!(format!("{variables:?}"), r#"{"PROD_REGISTRY_PASSWORD"}"#);
    }
}
