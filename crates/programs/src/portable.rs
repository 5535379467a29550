//! Builds this program so that old systems run it, by `cargo zigbuild`, and reads from a file which
//! C library it needs.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use object::elf::FileHeader64;
use object::read::elf::FileHeader as _;
use object::{ReadCache, ReadRef};

use crate::ask::Question;
use crate::{Error, Executable, Variables};

/// The oldest glibc that a portable program runs on: that of RHEL 7, from 2012. Rust's own minimum
/// is the same.
pub const OLDEST_GLIBC: Glibc = Glibc(2, 17);

/// The program by which cargo builds for an older glibc.
pub const ZIGBUILD: &str = "cargo-zigbuild";

/// How long a build may take. An old machine with one processor needs half an hour.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

/// What is built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The folder with `Cargo.toml`.
    pub workspace: &'a Utf8Path,
    /// The package and its program, `xtask` unless a team has its own.
    pub package: &'a str,
    /// The profile, `portable` unless a test builds faster.
    pub profile: &'a str,
    /// Whether cargo may download nothing.
    pub is_offline: bool,
}

impl Build<'_> {
    /// Builds the program for this machine's architecture and [`OLDEST_GLIBC`], and returns its
    /// file.
    ///
    /// # Errors
    /// cargo or `cargo zigbuild` is missing, or the build fails.
    pub fn run(&self, variables: &Variables) -> Result<Utf8PathBuf, Error> {
        // Cargo's own message about a missing subcommand names no way to install it.
        Executable::find(ZIGBUILD, variables.clone())?;
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let target = format!("{triple}.{OLDEST_GLIBC}");
        let manifest = self.workspace.join("Cargo.toml");
        // A configuration of cargo may name a different folder.
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
    /// Returns the oldest glibc that a Linux program runs on; none if it needs none because it is
    /// static. It is the newest version that the program's symbols name.
    ///
    /// # Errors
    /// The file cannot be read, or is not a 64-bit ELF program.
    pub fn needed_by(program: &Utf8Path) -> std::io::Result<Option<Self>> {
        // Only the parts that are looked at are kept in memory.
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

/// Returns the version that a symbol version such as `GLIBC_2.2.5` names.
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
    fn what_a_program_needs_is_read_from_its_symbols() {
        let test = std::env::current_exe().unwrap();
        let test = Utf8PathBuf::from_path_buf(test).unwrap();
        assert!(Glibc::needed_by(&test).unwrap() > Some(Glibc(2, 2)));
        let error = Glibc::needed_by(Utf8Path::new("Cargo.toml")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}
