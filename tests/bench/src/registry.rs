//! The registry that is pushed to: `docker-registry`, which is `registry:2`, on loopback, its
//! content in the scratch folder. A proxy in front of it plays the distance.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::contenders::on_path;
use crate::distance::Distance;
use crate::failure::Failure;
use crate::measure;
use crate::scratch::{Scratch, make_folder};

/// The program, as Debian's package of the same name has it.
const PROGRAM: &str = "docker-registry";

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns whether the program exists.
pub(crate) fn installed() -> Result<(), Failure> {
    if on_path(PROGRAM) {
        Ok(())
    } else {
        Err(Failure::NotInstalled { program: PROGRAM })
    }
}

/// A running registry. It is stopped when this is dropped.
pub(crate) struct Registry<'a> {
    scratch: &'a Scratch,
    process: Option<u32>,
    proxy: Option<u32>,
    log: Utf8PathBuf,
}

/// What a registry did until it was stopped.
pub(crate) struct Worked {
    pub(crate) cpu: Duration,
    pub(crate) proxy_cpu: Duration,
    pub(crate) requests: Requests,
}

/// The requests that a registry noted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Requests {
    pub(crate) by_method: BTreeMap<String, u64>,
    /// Those that ask for a tag.
    pub(crate) for_tags: u64,
    /// Those about blobs, without mounts.
    pub(crate) for_blobs: u64,
}

impl<'a> Registry<'a> {
    /// Puts whatever earlier registries kept out of the way.
    pub(crate) fn empty(scratch: &Scratch) -> Result<(), Failure> {
        scratch.put_away("registry")
    }

    /// Starts one that is reached at this port and this distance, with the content that the last
    /// one of this name left.
    pub(crate) fn start(
        scratch: &'a Scratch,
        name: &str,
        port: u16,
        distance: Distance,
    ) -> Result<Self, Failure> {
        let reached = port;
        let port = if distance.is_loopback() {
            reached
        } else {
            free_port()?
        };
        let (folder, configuration) = (scratch.path(name), scratch.path(&format!("{name}.yml")));
        make_folder(&folder)?;
        // As it comes, but for the access log, which is what requests are counted in.
        let text = format!(
            "version: 0.1\n\
             log: {{ level: error, accesslog: {{ disabled: false }} }}\n\
             storage:\n  \
               cache: {{ blobdescriptor: inmemory }}\n  \
               filesystem: {{ rootdirectory: '{folder}' }}\n\
             http: {{ addr: '127.0.0.1:{port}' }}\n"
        );
        std::fs::write(&configuration, text)
            .map_err(|source| Failure::io("write", &configuration, source))?;
        let log = scratch.log(name);
        let failed = |source| Failure::io("write", &log, source);
        let output = std::fs::File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let shell = scratch.shell()?;
        let serve = xshell::cmd!(shell, "{PROGRAM} serve {configuration}");
        let mut command = std::process::Command::from(serve);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command
            .spawn()
            .map_err(|source| Failure::io("start", PROGRAM.into(), source))?;
        let mut registry = Self {
            scratch,
            process: Some(child.id()),
            proxy: None,
            log: log.clone(),
        };
        wait_for(port, PROGRAM.into())?;
        if !distance.is_loopback() {
            let program = scratch.program();
            let (listen, to) = (format!("127.0.0.1:{reached}"), format!("127.0.0.1:{port}"));
            let options = distance.options();
            let proxy = xshell::cmd!(
                shell,
                "{program} bench-part proxy --listen {listen} --to {to} {options...}"
            );
            let mut command = std::process::Command::from(proxy);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command
                .spawn()
                .map_err(|source| Failure::io("start", program, source))?;
            registry.proxy = Some(child.id());
            wait_for(reached, program)?;
        }
        Ok(registry)
    }

    /// Stops it and returns what it did.
    pub(crate) fn stop(mut self) -> Result<Worked, Failure> {
        let proxy = end(&mut self.proxy, libc::SIGKILL)
            .map_err(|source| Failure::io("stop", self.scratch.program(), source))?;
        let ended = end(&mut self.process, libc::SIGTERM)
            .map_err(|source| Failure::io("stop", PROGRAM.into(), source))?;
        let log = &self.log;
        let text = files::read_text(log).map_err(|source| Failure::io("read", log, source))?;
        Ok(Worked {
            cpu: ended.map_or(Duration::ZERO, |ended| ended.cpu),
            proxy_cpu: proxy.map_or(Duration::ZERO, |ended| ended.cpu),
            requests: requests(&text),
        })
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        // The cause was reported already.
        let _ = end(&mut self.proxy, libc::SIGKILL);
        let _ = end(&mut self.process, libc::SIGTERM);
    }
}

/// Ends a child by a signal and returns what it cost.
fn end(child: &mut Option<u32>, signal: libc::c_int) -> std::io::Result<Option<measure::Ended>> {
    let Some(process) = child.take() else {
        return Ok(None);
    };
    let id = libc::pid_t::try_from(process).map_err(std::io::Error::other)?;
    // SAFETY: a child that was not waited for still has its number.
    unsafe { libc::kill(id, signal) };
    measure::wait(process).map(Some)
}

/// Waits until a program listens on this port.
fn wait_for(port: u16, program: &Utf8Path) -> Result<(), Failure> {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > PATIENCE {
            let source = std::io::ErrorKind::TimedOut.into();
            return Err(Failure::io("reach", program, source));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns a port that is free at this moment.
pub(crate) fn free_port() -> Result<u16, Failure> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Failure::io("listen on", "127.0.0.1".into(), source))
}

/// Counts the requests of an access log in the combined form.
fn requests(log: &str) -> Requests {
    let mut counted = Requests::default();
    for line in log.lines() {
        let Some((_, request)) = line.split_once("] \"") else {
            continue;
        };
        if let Some((method, path)) = request.split_once(' ')
            && path.starts_with("/v2/")
        {
            let (path, rest) = path.split_once(' ').unwrap_or((path, ""));
            *counted.by_method.entry(method.to_owned()).or_default() += 1;
            let asks = ["HEAD", "GET"].contains(&method);
            if asks && path.contains("/manifests/") && !path.contains("/manifests/sha256:") {
                counted.for_tags += 1;
            }
            let mounted = path.contains("mount=") && rest.contains("\" 201 ");
            if path.contains("/blobs/") && !mounted {
                counted.for_blobs += 1;
            }
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_by_what_they_are_for() {
        let log = "\
time=\"2026-11-22T22:38:49Z\" level=error msg=\"something [1] \\\"else\\\"\"
127.0.0.1 - - [22/Nov/2026:22:38:49 +0000] \"GET /v2/ HTTP/1.1\" 200 2 \"\" \"airlock\"
127.0.0.1 - - [22/Nov/2026:22:38:50 +0000] \"POST /v2/a/b/blobs/uploads/ HTTP/1.1\" 202 0 \"\" \"curl/7.88.1\"
127.0.0.1 - - [22/Nov/2026:22:38:51 +0000] \"POST /v2/a/c/blobs/uploads/ HTTP/1.1\" 202 0 \"\" \"curl/7.88.1\"
127.0.0.1 - - [22/Nov/2026:22:38:52 +0000] \"POST /v2/a/c/blobs/uploads/?from=b&mount=sha256%3Aab HTTP/1.1\" 201 0 \"\" \"-\"
127.0.0.1 - - [22/Nov/2026:22:38:53 +0000] \"POST /v2/a/c/blobs/uploads/?from=b&mount=sha256%3Aab HTTP/1.1\" 202 0 \"\" \"-\"
127.0.0.1 - - [22/Nov/2026:22:38:54 +0000] \"HEAD /v2/a/b/manifests/v1 HTTP/1.1\" 404 0 \"\" \"-\"
127.0.0.1 - - [22/Nov/2026:22:38:55 +0000] \"HEAD /v2/a/b/manifests/sha256:ab HTTP/1.1\" 404 0 \"\" \"-\"
";
        let by_method = [("GET", 1), ("HEAD", 2), ("POST", 4)];
        let expected = Requests {
            by_method: by_method
                .map(|(method, count)| (method.to_owned(), count))
                .into(),
            for_tags: 1,
            for_blobs: 3,
        };
        assert_eq!(requests(log), expected);
    }
}
