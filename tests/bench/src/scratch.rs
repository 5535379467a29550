//! The folder in which it is measured: a workspace with one environment, the bundle and its lock,
//! and room for others to unpack.

use std::fs;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use release::{Context, Workspace};
use xshell::Shell;
use xtask::Output;

use crate::bundle::{CHARTS, Held, Kind, Shape};

use crate::failure::Failure;
use crate::measure;

/// The environment that is pushed to.
pub(crate) const ENVIRONMENT: &str = "bench";

/// The bundle's file, as the vendor names it (DOCS-SRC).
const FILE: &str = "mke_bundle_v4.1.5_amd64.tar.gz";

/// How long ext4 takes a removed inode for one that may be needed for recovery.
const RECENCY: Duration = Duration::from_secs(36);

/// How much a round may leave behind, in sizes of the bundle.
const ROOM: u64 = 20;

/// The path below the registry.
pub(crate) const PROJECT: &str = "mke";

pub(crate) struct Scratch {
    root: Utf8PathBuf,
    program: Utf8PathBuf,
    shape: Shape,
    /// Locked for as long as this lives: two that measure at once measure each other.
    _lock: fs::File,
}

impl Scratch {
    /// Takes the folder for measuring below the workspace's `bundles/`.
    pub(crate) fn new(context: &Context<'_>, shape: Shape) -> Result<Self, Failure> {
        let root = context.workspace.bundles().join("bench");
        make_folder(&root)?;
        let path = root.join("lock");
        let lock = fs::File::create(&path).map_err(|source| Failure::io("write", &path, source))?;
        lock.try_lock().map_err(|error| Failure::Busy {
            path: path.clone(),
            source: error.into(),
        })?;
        Ok(Self {
            root,
            program: context.tool.executable.clone(),
            shape,
            _lock: lock,
        })
    }

    /// Makes the bundle, unless an earlier run kept it, and locks it.
    pub(crate) fn prepare(&self, output: &Output<'_>) -> Result<Held, Failure> {
        for folder in [
            "workspace/environments",
            "workspace/bundles",
            "home",
            "tmp",
            "logs",
        ] {
            make_folder(&self.root.join(folder))?;
        }
        let shell = self.shell()?;
        let (bundle, program, workspace) = (self.bundle(), &self.program, self.workspace());
        if !bundle.is_file() {
            output.note(&format!("{:>9} making a bundle in {}", "bench", self.root));
            let options = self.shape.options();
            let make = xshell::cmd!(
                shell,
                "{program} -C {workspace} bench-part make {bundle} {options...}"
            );
            measure::run(make.into(), "the making of a bundle", &self.log("make"))?;
        }
        // Where a push looks for it; the same file, so it is in the page cache for all or for none.
        let linked = Workspace::new(&workspace).bundle(FILE);
        let _ = fs::remove_file(&linked);
        fs::hard_link(&bundle, &linked).map_err(|source| Failure::io("link", &linked, source))?;
        measure::run(self.lock(&shell).into(), "`lock`", &self.log("lock"))?;
        crate::bundle::held(&Workspace::new(self.workspace()))
    }

    /// Makes a workspace whose set names these references of a registry, beside the smallest
    /// release, and locks both.
    pub(crate) fn prepare_set(&self, upstream: &str, references: &[String]) -> Result<(), Failure> {
        let workspace = self.set_workspace();
        let bundle = workspace.join("bundles").join(FILE);
        let smallest = Shape {
            kind: Kind::Mke,
            size: 250_000,
            archives: 1,
            platforms: 1,
            blobs: 0,
        };
        crate::bundle::make(&bundle, &smallest)?;
        let set = workspace.join("bundles/upstream.set.yaml");
        let chart = format!("{PROJECT}/{CHARTS}");
        let (mut images, mut charts) = ("images:\n".to_owned(), String::new());
        for reference in references {
            match reference.starts_with(&chart) {
                true => charts.push_str(&format!("  - oci://{upstream}/{reference}\n")),
                false => images.push_str(&format!("- {upstream}/{reference}\n")),
            }
        }
        if !charts.is_empty() {
            charts.insert_str(0, "charts:\n");
        }
        fs::write(&set, images + &charts).map_err(|source| Failure::io("write", &set, source))?;
        let shell = self.shell()?;
        let (program, release) = (&self.program, format!("v{}", crate::bundle::release()));
        for arguments in [
            &[
                "lock",
                release.as_str(),
                "--bundle",
                bundle.as_str(),
                "--replace",
            ][..],
            &["lock", "upstream", "--replace"],
        ] {
            let lock = xshell::cmd!(shell, "{program} -C {workspace} {arguments...}");
            measure::run(lock.into(), "`lock`", &self.log("lock-set"))?;
        }
        Ok(())
    }

    /// Returns the command that locks the bundle.
    pub(crate) fn lock<'a>(&self, shell: &'a Shell) -> xshell::Cmd<'a> {
        let (bundle, program, workspace) = (self.bundle(), &self.program, self.workspace());
        let release = format!("v{}", crate::bundle::release());
        xshell::cmd!(
            shell,
            "{program} -C {workspace} lock {release} --bundle {bundle} --replace"
        )
    }

    /// Writes the environments, with the registry at this address.
    pub(crate) fn aim_at(&self, address: &str) -> Result<(), Failure> {
        write_environment(&self.workspace(), address, "")?;
        write_environment(&self.set_workspace(), address, "sets: [upstream]\n")
    }

    /// Returns a shell whose programs keep to this folder, so no setting of this machine's users
    /// matters, and what is written for a while is written to the same disk by all.
    pub(crate) fn shell(&self) -> Result<Shell, Failure> {
        let failed =
            |source: xshell::Error| Failure::io("enter", &self.root, io::Error::other(source));
        let shell = Shell::new().map_err(failed)?;
        shell.change_dir(&self.root);
        shell.set_var("HOME", self.root.join("home"));
        shell.set_var("TMPDIR", self.root.join("tmp"));
        shell.set_var("NO_PROXY", "127.0.0.1");
        shell.set_var("no_proxy", "127.0.0.1");
        Ok(shell)
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn program(&self) -> &Utf8Path {
        &self.program
    }

    pub(crate) fn path(&self, below: &str) -> Utf8PathBuf {
        self.root.join(below)
    }

    pub(crate) fn workspace(&self) -> Utf8PathBuf {
        self.root.join("workspace")
    }

    /// Returns the workspace whose environment has a set.
    pub(crate) fn set_workspace(&self) -> Utf8PathBuf {
        self.root.join("set")
    }

    /// Returns the bundle's file, named as the vendor names it, in a folder named for its shape.
    pub(crate) fn bundle(&self) -> Utf8PathBuf {
        let name = self.shape.options().concat().replace("--", "-");
        self.root.join(format!("bundle{name}")).join(FILE)
    }

    /// Returns where a program's output goes.
    pub(crate) fn log(&self, name: &str) -> Utf8PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// Puts a folder out of the way of the next measurement.
    ///
    /// It is not removed: for half a minute after files were removed, ext4 looks at each inode that
    /// it gives to a new one, to not give one that may still be needed for recovery. The next
    /// contender would pay for that with each file that it creates.
    pub(crate) fn put_away(&self, name: &str) -> Result<(), Failure> {
        let folder = self.path(name);
        let away = self.path("away");
        make_folder(&away)?;
        let place = (0..)
            .map(|number: u32| away.join(number.to_string()))
            .find(|place| !place.exists())
            .unwrap_or_else(|| unreachable!("numbers do not end"));
        match fs::rename(&folder, &place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::io("rename", &folder, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what was put out of the way if the disk needs the room, and waits until that costs
    /// no program anything.
    pub(crate) fn make_room(&self) -> Result<(), Failure> {
        let disk = rustix::fs::statvfs(self.root.as_std_path())
            .map_err(|source| Failure::io("measure the space of", &self.root, source.into()))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM * self.shape.size {
            self.forget_away()?;
            std::thread::sleep(RECENCY);
        }
        Ok(())
    }

    /// Removes what was put out of the way.
    pub(crate) fn forget_away(&self) -> Result<(), Failure> {
        remove_folder(&self.path("away"))
    }

    /// Waits until everything that was written is on the disk, so no contender is measured while
    /// the disk works for the one before.
    pub(crate) fn settle() {
        rustix::fs::sync();
    }

    /// Removes everything.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        remove_folder(&self.root)
    }
}

/// Writes the environment of a workspace, with `more` keys.
fn write_environment(workspace: &Utf8Path, address: &str, more: &str) -> Result<(), Failure> {
    let folder = workspace.join("environments").join(ENVIRONMENT);
    make_folder(&folder)?;
    let path = folder.join("environment.yaml");
    let release = crate::bundle::release();
    let text = format!(
        "{more}release: v{release}\n\
             registry: {{ address: '{address}', project: {PROJECT} }}\n\
             config:\n  \
               apiServer: {{ externalAddress: mke.bench.example.com }}\n  \
               hosts:\n    \
                 - role: controller+worker\n      \
                   ssh: {{ address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/bench }}\n"
    );
    fs::write(&path, text).map_err(|source| Failure::io("write", &path, source))
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Utf8Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|source| Failure::io("make", path, source))
}

/// Removes a folder and everything in it, if it exists.
pub(crate) fn remove_folder(path: &Utf8Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
