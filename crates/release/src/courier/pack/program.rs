//! Chooses and inspects the program for a medium.

use std::io::{ErrorKind, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use programs::Executable;
use programs::portable::{Build, Glibc, ZIGBUILD};

use super::{Error, Options};
use crate::Context;
use crate::courier::SIGNERS;
use crate::event::{Event, Step};

/// Returns the program to pack: the named one, one built for old systems, or the running one.
///
/// # Errors
/// [`Error::Portable`] if the build fails or `cargo-zigbuild` is missing.
pub(super) fn choose(context: &Context<'_>, options: &Options) -> Result<Utf8PathBuf, Error> {
    if let Some(program) = &options.program {
        return Ok(program.clone());
    }
    if options.portable && options.dry_run {
        // A dry run does not build, but reports a missing `cargo-zigbuild`.
        let found = Executable::find(ZIGBUILD, context.tool.cargo_variables.clone());
        found.map_err(|source| Error::Portable { source })?;
    }
    if !options.portable || options.dry_run {
        return Ok(context.tool.executable.clone());
    }
    context.reporter.report(Event::Started {
        step: Step::Pack,
        what: "the portable program by cargo zigbuild".to_owned(),
        bytes: None,
    });
    let build = Build {
        workspace: context.workspace.root(),
        package: &context.tool.package,
        profile: "portable",
        is_offline: context.offline,
    };
    let built = build.run(&context.tool.cargo_variables);
    let built = built.map_err(|source| Error::Portable { source })?;
    context.reporter.report(Event::Finished {
        step: Step::Pack,
        what: "the portable program is built".to_owned(),
    });
    Ok(built)
}

/// Returns whether a file is an ELF program or a script.
///
/// # Errors
/// The file cannot be read.
pub(super) fn is_executable(program: &Utf8Path) -> Result<bool, crate::Error> {
    let mut magic = Vec::new();
    let read = |source| crate::Error::read(program, source);
    let file = files::open(program).map_err(read)?;
    file.take(4).read_to_end(&mut magic).map_err(read)?;
    Ok(magic == b"\x7fELF" || magic.starts_with(b"#!"))
}

/// Returns whether a file is Airlock, for any platform: it contains a path that no other program
/// has.
///
/// # Errors
/// The file cannot be read.
pub(super) fn is_airlock(program: &Utf8Path) -> Result<bool, crate::Error> {
    let read = |source| crate::Error::read(program, source);
    let mark = SIGNERS.as_bytes();
    let mut file = files::open(program).map_err(read)?;
    let mut part = Vec::new();
    loop {
        let next = file.by_ref().take(1 << 20).read_to_end(&mut part);
        let is_end = next.map_err(read)? == 0;
        if part.windows(mark.len()).any(|found| found == mark) {
            return Ok(true);
        }
        if is_end {
            return Ok(false);
        }
        // The end of this part may cut the path.
        part.drain(..part.len().saturating_sub(mark.len()));
    }
}

/// Returns the platform of a program according to its ELF header, such as `linux-x86_64`.
///
/// # Errors
/// The file cannot be read.
pub(super) fn platform(program: &Utf8Path) -> Result<String, crate::Error> {
    let mut header = [0; 20];
    let read = |source| crate::Error::read(program, source);
    let mut file = files::open(program).map_err(read)?;
    // A shorter file is a script.
    let _ = file.read_exact(&mut header);
    let machine = u16::from_le_bytes([header[18], header[19]]);
    Ok(match (&header[..4], machine) {
        (b"\x7fELF", 0x3e) => "linux-x86_64".to_owned(),
        (b"\x7fELF", 0xb7) => "linux-arm64".to_owned(),
        _ => format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// Returns the oldest glibc that has all symbols of a program, such as `2.34`, or `None` for a
/// static program or a script.
///
/// # Errors
/// The file cannot be read.
pub(super) fn glibc(program: &Utf8Path) -> Result<Option<String>, crate::Error> {
    match Glibc::needed_by(program) {
        Ok(glibc) => Ok(glibc.map(|glibc| glibc.to_string())),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(source) => Err(crate::Error::read(program, source)),
    }
}
