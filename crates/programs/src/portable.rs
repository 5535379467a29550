//! Builds this program for old systems with `cargo zigbuild`, and reads the C library that a
//! program requires.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use object::elf::FileHeader64;
use object::read::elf::FileHeader as _;
use object::{ReadCache, ReadRef};

use crate::ask::Question;
use crate::{Error, Executable, Variables};

/// The oldest supported glibc: that of RHEL 7, from 2012, which is also Rust's minimum.
pub const OLDEST_GLIBC: Glibc = Glibc(2, 17);

/// The cargo subcommand that builds for an older glibc.
pub const ZIGBUILD: &str = "cargo-zigbuild";

/// Time limit of a build. An old machine with one processor takes half an hour.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// A version of glibc: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

/// The parameters of a build.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The folder with `Cargo.toml`.
    pub workspace: &'a Utf8Path,
    /// Name of the package and of its program: `xtask`, or that of a team.
    pub package: &'a str,
    /// Profile of cargo: `portable`, or a faster one in tests.
    pub profile: &'a str,
    /// Whether cargo runs with `--offline`.
    pub is_offline: bool,
}

impl Build<'_> {
    /// Builds the program for this machine's architecture and [`OLDEST_GLIBC`]. Returns the path of
    /// the program.
    ///
    /// # Errors
    /// The errors of finding `cargo` and `cargo-zigbuild`, and [`Error::Failed`] if the build
    /// fails.
    pub fn run(&self, variables: &Variables) -> Result<Utf8PathBuf, Error> {
        // Cargo's own message about a missing subcommand names no way to install it.
        Executable::find(ZIGBUILD, variables.clone())?;
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let target = format!("{triple}.{OLDEST_GLIBC}");
        let manifest = self.workspace.join("Cargo.toml");
        // Without `--target-dir`, cargo's configuration could name a different folder.
        let folder = self.workspace.join("target");
        let mut arguments = vec![
            "zigbuild",
            "--locked",
            "--quiet",
            "--manifest-path",
            manifest.as_str(),
            "--target-dir",
            folder.as_str(),
            "--package",
            self.package,
            "--profile",
            self.profile,
            "--target",
            &target,
        ];
        if self.is_offline {
            arguments.push("--offline");
        }
        let cargo = Executable::find("cargo", variables.clone())?;
        cargo.answer(Question {
            limit: LIMIT,
            ..Question::new(&arguments)
        })?;
        let profile = match self.profile {
            "dev" => "debug",
            profile => profile,
        };
        Ok(folder.join(triple).join(profile).join(self.package))
    }
}

impl Glibc {
    /// Returns the oldest glibc that a Linux program runs on, or `None` for a static program. It is
    /// the newest version among the program's symbols.
    ///
    /// # Errors
    /// The file cannot be read, or is not a 64-bit ELF program.
    pub fn needed_by(program: &Utf8Path) -> std::io::Result<Option<Self>> {
        // The cache holds only the parts that are read.
        let program = ReadCache::new(files::open(program)?);
        needed(&program)
            .map_err(|source| std::io::Error::new(std::io::ErrorKind::InvalidData, source))
    }
}

fn needed<'data>(program: impl ReadRef<'data>) -> object::Result<Option<Glibc>> {
    let header = FileHeader64::<object::Endianness>::parse(program)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, program)?;
    let Some((mut files, names)) = sections.gnu_verneed(endian, program)? else {
        return Ok(None);
    };
    let names = sections.strings(endian, program, names)?;
    let mut newest = None;
    while let Some((_, mut versions)) = files.next()? {
        while let Some(version) = versions.next()? {
            newest = newest.max(glibc(version.name(endian, names)?));
        }
    }
    Ok(newest)
}

/// Returns the version in a symbol version such as `GLIBC_2.2.5`.
fn glibc(version: &[u8]) -> Option<Glibc> {
    let version = std::str::from_utf8(version).ok()?;
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some(Glibc(number()?, number()?))
}

impl std::fmt::Display for Glibc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(glibc(b"GLIBC_2.2.5"), Some(Glibc(2, 2)));
        assert_eq!(glibc(b"GLIBC_PRIVATE"), None);
        assert_eq!(glibc(b"GCC_3.0"), None);
        assert!(Glibc(2, 9) < OLDEST_GLIBC);
        assert_eq!(OLDEST_GLIBC.to_string(), "2.17");
    }

    #[test]
    fn the_required_glibc_is_read_from_the_symbols() {
        let test = std::env::current_exe().unwrap();
        let test = Utf8PathBuf::from_path_buf(test).unwrap();
        assert!(Glibc::needed_by(&test).unwrap() > Some(Glibc(2, 2)));
        let error = Glibc::needed_by(Utf8Path::new("Cargo.toml")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}
