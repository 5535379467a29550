//! Who is measured, and what each of them needs to find before it begins.

use std::fmt::Write as _;
use std::process::Command;

use crate::bundle::Held;
use camino::{Utf8Path, Utf8PathBuf};

use clap::ValueEnum as _;

use crate::arguments::Contender;
use crate::distance::Distance;
use crate::failure::Failure;
use crate::measure::{self, Cost};
use crate::peers;
use crate::registry::{Registry, free_port};
use crate::scratch::{ENVIRONMENT, PROJECT, Scratch, make_folder, remove_folder};
use xtask::Output;

/// What one of several curls does: it opens all its uploads over one connection, then sends all its
/// blobs over one. `Expect: 100-continue` is left out, since it would cost a pause for each blob.
const CURLS: &str = r#"for share in shares/*.open; do
  ( share=${share%.open}
    curl --silent --show-error --fail -K "$share.open" > "$share.locations" &&
    awk 'NR==FNR { location[NR]=$0; next } { split($0, blob, "\t"); print "next"; print "silent"; print "show-error"; print "fail"; print "header=\"Expect:\""; print "header=\"Content-Type: application/octet-stream\""; print "upload-file=\"" blob[2] "\""; print "output=\"/dev/null\""; print "url=\"" location[FNR] "&digest=" blob[1] "\"" }' "$share.locations" "$share.blobs" > "$share.send" &&
    curl --silent --show-error --fail -K "$share.send"
  ) & pids="$pids $!"
done
for pid in $pids; do wait "$pid" || exit 1; done"#;

/// What is in the registry at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    OfOurs,
    OfTheLoop,
    OfTheSet,
    Other,
}

pub(crate) struct Bench<'a> {
    output: &'a Output<'a>,
    scratch: &'a Scratch,
    held: &'a Held,
    distance: Distance,
    against: Option<&'a Utf8Path>,
    content: Content,
    port: u16,
    /// The port of the upstream registry, once it has what the set names.
    upstream: Option<u16>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        output: &'a Output<'a>,
        scratch: &'a Scratch,
        held: &'a Held,
        distance: Distance,
        against: Option<&'a Utf8Path>,
    ) -> Self {
        Self {
            output,
            scratch,
            held,
            distance,
            against,
            content: Content::Other,
            port: 0,
            upstream: None,
        }
    }

    /// Brings everything into the state that a contender is to find, and measures it.
    pub(crate) fn measure(&mut self, contender: Contender) -> Result<Cost, Failure> {
        let distance = match contender {
            Contender::Near => Distance::default(),
            _ => self.distance,
        };
        self.measure_at(contender, distance)
    }

    fn measure_at(&mut self, contender: Contender, distance: Distance) -> Result<Cost, Failure> {
        match contender {
            Contender::Cold | Contender::ColdBase | Contender::Near | Contender::Lock => {
                self.scratch.put_away("workspace/bundles/store")?;
                self.empty()?;
            }
            Contender::Filled | Contender::FilledBase | Contender::Curls => {
                self.fill_store()?;
                self.empty()?;
            }
            Contender::Again | Contender::AgainBase => {
                self.fill_registry(Content::OfOurs, Contender::Filled)?;
            }
            Contender::Set | Contender::Copy => {
                self.fill_upstream()?;
                self.scratch.put_away("set/bundles/store")?;
                self.empty()?;
            }
            Contender::SetAgain => self.fill_registry(Content::OfTheSet, Contender::Set)?,
            Contender::LoopAgain => self.fill_registry(Content::OfTheLoop, Contender::Loop)?,
            _ => self.empty()?,
        }
        self.take_turn(contender, distance)
    }

    /// Lets a contender work, and returns what that cost.
    fn take_turn(&mut self, contender: Contender, distance: Distance) -> Result<Cost, Failure> {
        let name = contender.name();
        let address = format!("127.0.0.1:{}", self.port);
        self.scratch.aim_at(&address)?;
        let command = self.command(contender, &address)?;
        Scratch::settle();
        let registry = Registry::start(self.scratch, "registry", self.port, distance)?;
        let upstream = match contender.is_of_upstream() {
            true => Some(self.start_upstream()?),
            false => None,
        };
        let (wall, ended) = measure::run(command, contender.title(), &self.scratch.log(&name))?;
        let mut worked = registry.stop()?;
        if let Some(upstream) = upstream {
            worked.cpu += upstream.stop()?.cpu;
        }
        self.content = match contender {
            Contender::Loop | Contender::LoopAgain => Content::OfTheLoop,
            Contender::Set | Contender::SetAgain => Content::OfTheSet,
            _ if contender.is_push() => Content::OfOurs,
            _ => Content::Other,
        };
        Ok(Cost {
            wall_seconds: wall.as_secs_f64(),
            cpu_seconds: ended.cpu.as_secs_f64(),
            registry_cpu_seconds: worked.cpu.as_secs_f64(),
            proxy_cpu_seconds: worked.proxy_cpu.as_secs_f64(),
            peak_memory: ended.peak_memory,
            written: ended.written,
            requests: worked.requests.by_method,
            requests_for_tags: worked.requests.for_tags,
            requests_for_blobs: worked.requests.for_blobs,
        })
    }

    fn command(&self, contender: Contender, address: &str) -> Result<Command, Failure> {
        let shell = self.scratch.shell()?;
        let program = self.scratch.program();
        let workspace = self.scratch.workspace();
        let bundle = self.scratch.bundle();
        shell.set_var("REGISTRY_ADDRESS", address);
        shell.set_var("REGISTRY_PROJECT_PATH", PROJECT);
        shell.set_var("BUNDLE_NAME", &bundle);
        let script = match contender {
            _ if contender.is_push() => {
                let program = self
                    .against
                    .filter(|_| contender.is_base())
                    .unwrap_or(program);
                let push = xshell::cmd!(shell, "{program} -C {workspace} push {ENVIRONMENT}");
                return Ok(push.into());
            }
            Contender::Inflate => {
                let inflate = xshell::cmd!(
                    shell,
                    "{program} -C {workspace} bench-part inflate {bundle}"
                );
                return Ok(inflate.into());
            }
            Contender::Lock => return Ok(self.scratch.lock(&shell).into()),
            Contender::Set | Contender::SetAgain => {
                let workspace = self.scratch.set_workspace();
                let push = xshell::cmd!(shell, "{program} -C {workspace} push {ENVIRONMENT}");
                return Ok(push.into());
            }
            Contender::Copy => {
                shell.set_var("UPSTREAM_ADDRESS", self.upstream_address());
                let references = self.held.references.join("\n");
                return Ok(xshell::cmd!(shell, "sh -c")
                    .arg(peers::copy())
                    .args(["sh", &references])
                    .into());
            }
            Contender::Curls => {
                self.share_out(address)?;
                CURLS.to_owned()
            }
            _ => peers::script(contender).unwrap_or_default(),
        };
        let folder = self.scratch.path("unpacked");
        if contender == Contender::Curls {
            shell.change_dir(self.scratch.path("curls"));
        } else {
            remove_folder(&folder)?;
            make_folder(&folder)?;
            shell.change_dir(&folder);
        }
        Ok(xshell::cmd!(shell, "sh -c {script}").into())
    }

    /// Divides the blobs among the curls, the largest first and each to the one that has least, and
    /// writes down for each of them what to open and what to send.
    fn share_out(&self, address: &str) -> Result<(), Failure> {
        let folder = self.scratch.path("curls/shares");
        remove_folder(&folder)?;
        make_folder(&folder)?;
        let mut blobs: Vec<(&String, &(Utf8PathBuf, u64))> = self.held.blobs.iter().collect();
        blobs.sort_by_key(|(_, (_, size))| std::cmp::Reverse(*size));
        let mut shares: Vec<(u64, String, String)> = vec![Default::default(); at_once()];
        for (digest, (path, size)) in blobs {
            let Some((bytes, open, send)) = shares.iter_mut().min_by_key(|share| share.0) else {
                break;
            };
            *bytes += size;
            // Writing to a string does not fail.
            let _ = write!(
                open,
                "next\nsilent\nshow-error\nfail\nrequest=POST\noutput=/dev/null\nwrite-out=\"%header{{location}}\\n\"\n\
                 url=\"http://{address}/v2/{PROJECT}/floor/blobs/uploads/\"\n"
            );
            let _ = writeln!(send, "{digest}\t{path}");
        }
        for (number, (bytes, open, send)) in shares.iter().enumerate() {
            if *bytes == 0 {
                continue;
            }
            for (name, text) in [("open", open), ("blobs", send)] {
                let path = folder.join(format!("{number}.{name}"));
                std::fs::write(&path, text)
                    .map_err(|source| Failure::io("write", &path, source))?;
            }
        }
        Ok(())
    }

    /// Makes the upstream registry hold what is in the bundle, and locks it as a set, without
    /// measuring it.
    fn fill_upstream(&mut self) -> Result<(), Failure> {
        if self.upstream.is_some() {
            return Ok(());
        }
        self.fill_store()?;
        self.upstream = Some(free_port()?);
        let (scratch, address) = (self.scratch, self.upstream_address());
        let upstream = self.start_upstream()?;
        scratch.aim_at(&address)?;
        let push = self.command(Contender::Filled, &address)?;
        measure::run(
            push,
            "a push to the upstream registry",
            &scratch.log("upstream-push"),
        )?;
        scratch.prepare_set(&address, &self.held.references)?;
        upstream.stop()?;
        Ok(())
    }

    fn start_upstream(&self) -> Result<Registry<'a>, Failure> {
        let port = self.upstream.unwrap_or_default();
        Registry::start(self.scratch, "upstream", port, Distance::default())
    }

    fn upstream_address(&self) -> String {
        format!("127.0.0.1:{}", self.upstream.unwrap_or_default())
    }

    /// Makes the registry empty, at a port that no cache knows.
    fn empty(&mut self) -> Result<(), Failure> {
        Registry::empty(self.scratch)?;
        self.content = Content::Other;
        self.port = free_port()?;
        Ok(())
    }

    /// Makes the store hold the bundle, without measuring it.
    fn fill_store(&self) -> Result<(), Failure> {
        if self.held.blobs.values().all(|(path, _)| path.is_file()) {
            return Ok(());
        }
        let shell = self.scratch.shell()?;
        let lock = self.scratch.lock(&shell);
        measure::run(lock.into(), "`lock`", &self.scratch.log("lock"))?;
        Ok(())
    }

    /// Makes the registry hold the bundle as a contender leaves it, without measuring it.
    fn fill_registry(&mut self, wanted: Content, by: Contender) -> Result<(), Failure> {
        if self.content != wanted {
            self.output
                .note(&format!("{:>9} filling the registry", "bench"));
            self.measure_at(by, Distance::default())?;
        }
        Ok(())
    }
}

impl Contender {
    /// Returns the name that is in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cold => "push, cold",
            Self::ColdBase => "push, cold, base",
            Self::Near => "push, cold, on loopback",
            Self::Filled => "push, store filled",
            Self::FilledBase => "push, store filled, base",
            Self::Again => "push, nothing to do",
            Self::AgainBase => "push, nothing to do, base",
            Self::Lock => "lock",
            Self::Set => "registry to registry, cold",
            Self::SetAgain => "registry to registry, nothing to do",
            Self::Copy => "registry to registry, skopeo, xargs -P",
            Self::Loop => "vendor's loop",
            Self::LoopAgain => "vendor's loop, nothing to do",
            Self::Parallel => "vendor's loop, xargs -P",
            Self::Crane => "crane, xargs -P",
            Self::Oras => "oras, xargs -P",
            Self::Regctl => "regctl, xargs -P",
            Self::Hauler => "hauler",
            Self::Zarf => "zarf",
            Self::Inflate => "floor: inflate and hash",
            Self::Curls => "floor: several curls",
        }
    }

    /// Returns the name that is typed.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns whether it is a push of Airlock.
    pub(crate) fn is_push(self) -> bool {
        self.is_base() || matches!(self, Self::Cold | Self::Near | Self::Filled | Self::Again)
    }

    /// Returns whether it reads from the upstream registry.
    fn is_of_upstream(self) -> bool {
        matches!(self, Self::Set | Self::SetAgain | Self::Copy)
    }

    /// Returns whether it is a push of the program that this one is compared with.
    pub(crate) fn is_base(self) -> bool {
        matches!(self, Self::ColdBase | Self::FilledBase | Self::AgainBase)
    }
}

/// Returns a program that a contender needs and that is not installed.
pub(crate) fn missing(contender: Contender) -> Option<&'static str> {
    peers::programs(contender)
        .iter()
        .copied()
        .find(|program| !on_path(program))
}

/// Returns whether a program is on PATH.
#[expect(clippy::disallowed_methods, reason = "PATH is the environment's")]
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Returns how many processors there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns how many copies and how many curls run at a time: two for each processor.
pub(crate) fn at_once() -> usize {
    2 * cores()
}
