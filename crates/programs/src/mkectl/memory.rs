//! Caches the help pages of a `mkectl`, by the hash of its file.
//!
//! Nothing is assumed of a release, because builds differ and documentation is incomplete. The hash
//! identifies a build, since a version can be built twice.

use std::fs::File;
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::{Help, Mkectl};
use crate::Error;

impl Mkectl {
    /// Returns the program with a folder in which its help pages are cached.
    #[must_use]
    pub fn remembering(mut self, folder: impl Into<Utf8PathBuf>) -> Self {
        self.memory = Some(folder.into());
        self
    }

    /// Returns the parsed page of `mkectl COMMAND --help`, from the cache if possible. An empty
    /// `command` returns the page of the program itself. The time limit is 30 seconds.
    ///
    /// Scripts are not cached, because the programs that they start may change. Neither are
    /// programs with leading arguments. Errors of the cache are ignored.
    ///
    /// # Errors
    ///
    /// The errors of a query.
    pub fn help(&self, command: &[&str]) -> Result<Help, Error> {
        let page = self.page(command);
        if let Some(text) = page.as_deref().and_then(read_cached) {
            return Ok(Help::parse(&text));
        }
        let text = self.help_page(command)?;
        if let Some(page) = page {
            write_cached(&page, &text);
        }
        Ok(Help::parse(&text))
    }

    /// Returns the SHA-256 of the program's file in lower-case hexadecimal digits. `None` for a
    /// stand-in under a subcommand, and for a file that cannot be read.
    pub fn sha256(&self) -> Option<String> {
        if !self.program.leading.is_empty() {
            return None;
        }
        let file = files::open(&self.program.path).ok()?;
        digest(file, &mut |_| true).ok().flatten()
    }

    /// Returns the path of a cached page.
    fn page(&self, command: &[&str]) -> Option<Utf8PathBuf> {
        let folder = self.memory.as_ref()?;
        if !self.program.leading.is_empty() {
            return None;
        }
        let hash = hash(&self.program.path).ok()??;
        let name = match command {
            [] => "mkectl".to_owned(),
            words => words.join("-"),
        };
        Some(folder.join(hash).join(format!("{name}.txt")))
    }
}

/// Returns the SHA-256 of a program in lower-case hexadecimal digits, or `None` for a script.
fn hash(program: &Utf8Path) -> io::Result<Option<String>> {
    digest(files::open(program)?, &mut |beginning| {
        !beginning.starts_with(b"#!")
    })
}

/// Returns the SHA-256 of a file, or `None` if `accepts` rejects its first bytes.
fn digest(mut file: File, accepts: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Option<String>> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut is_first = true;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(Some(hex::encode(hasher.finalize())));
        }
        if is_first && !accepts(&buffer[..length]) {
            return Ok(None);
        }
        is_first = false;
        hasher.update(&buffer[..length]);
    }
}

fn read_cached(page: &Utf8Path) -> Option<String> {
    files::read_text(page).ok().filter(|text| !text.is_empty())
}

/// Caches a page. After an error, the program is queried again next time.
fn write_cached(page: &Utf8Path, text: &str) {
    let _ = std::fs::create_dir_all(files::folder_of(page))
        .and_then(|()| files::write(page, text, files::Access::All));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Variables;

    #[test]
    fn a_build_is_queried_once_and_a_different_build_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let memory = folder.join("help");
        let program = folder.join("echo");
        fs::create_dir_all(&folder).unwrap();
        // It prints its arguments.
        fs::copy("/bin/echo", &program).unwrap();
        let mkectl = Mkectl::new(&program, Variables::default()).remembering(&memory);
        assert!(mkectl.help(&["config", "get"]).unwrap().lists("--help"));
        let pages: Vec<_> = memory.read_dir_utf8().unwrap().collect();
        assert_eq!(pages.len(), 1);
        let page = pages[0].as_ref().unwrap().path().join("config-get.txt");
        assert_eq!(fs::read_to_string(&page).unwrap(), "config get --help\n");

        // A cached page is not queried.
        fs::write(&page, "--remembered").unwrap();
        assert!(
            mkectl
                .help(&["config", "get"])
                .unwrap()
                .lists("--remembered")
        );
        assert!(mkectl.help(&["apply"]).unwrap().lists("--help"));
        // A different build is.
        let mut bytes = fs::read(&program).unwrap();
        bytes.push(0);
        fs::write(&program, bytes).unwrap();
        assert!(mkectl.help(&["config", "get"]).unwrap().lists("--help"));
        // So are a program with leading arguments, and one whose cache cannot be written.
        let leading = mkectl.clone().leading(["rehearse"]);
        assert!(leading.help(&["apply"]).unwrap().lists("--help"));
        assert_eq!(memory.read_dir_utf8().unwrap().count(), 2);
        let full = mkectl.remembering("/dev/null/help");
        assert!(full.help(&["apply"]).unwrap().lists("--help"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
