//! The state of a run: the workspace, the user interface, options, and facts about the process.

#![expect(
    clippy::disallowed_methods,
    reason = "the process's environment and clock are read here"
)]

use std::sync::Mutex;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use release::environment_lock::EnvironmentLock;
use release::{Context, Tool, Workspace};

use crate::cli::{Cli, Command, CommonArgs};
use crate::consent::TerminalConsent;
use crate::credentials::EnvironmentCredentials;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) struct App<'a> {
    pub(crate) workspace: Workspace,
    pub(crate) tool: Tool,
    pub(crate) ui: &'a Ui,
    credential_provider: EnvironmentCredentials<'a>,
    consent: TerminalConsent,
    limits: release::transfer::connect::Limits,
    accounts: release::Accounts,
    offline: bool,
}

impl<'a> App<'a> {
    /// Prepares the run of a command of Airlock.
    pub(crate) fn new(cli: &Cli, ui: &'a Ui) -> Result<Self, Failure> {
        let named = cli.common.directory.as_deref();
        let root = match &cli.command {
            Command::Unpack(_) => root_or_new(named)?,
            _ => root(named)?,
        };
        let app = Self::at(root, &cli.common, ui)?;
        let overlaid = app.workspace.overlay_releases();
        if cli.needs_facts() {
            overlaid?;
        }
        if let Some(environments) = cli.writes() {
            release::links::refuse(&app.workspace, &environments)?;
        }
        Ok(Self {
            consent: TerminalConsent::new(cli.allows_visible_secrets()),
            limits: cli.limits(),
            ..app
        })
    }

    /// Prepares the run of a team's task, which has only the options of every command.
    pub(crate) fn of_team(common: &CommonArgs, ui: &'a Ui) -> Result<Self, Failure> {
        let app = Self::at(root(common.directory.as_deref())?, common, ui)?;
        app.workspace.overlay_releases()?;
        Ok(app)
    }

    fn at(root: Utf8PathBuf, common: &CommonArgs, ui: &'a Ui) -> Result<Self, Failure> {
        mask_variables();
        let tool = tool()?;
        let workspace = Workspace::new(root);
        release::links::refuse_dangling(&workspace)?;
        crate::diagnosis::start(common, &workspace, ui)?;
        Ok(Self {
            workspace,
            credential_provider: EnvironmentCredentials::new(ui, tool.variables.clone()),
            tool,
            ui,
            consent: TerminalConsent::new(false),
            limits: release::transfer::connect::Limits::default(),
            accounts: release::Accounts::default(),
            offline: common.offline
                || crate::called::is_offline(std::env::var_os("AIRLOCK_OFFLINE").as_deref()),
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            workspace: &self.workspace,
            reporter: self.ui,
            tool: &self.tool,
            credential_provider: &self.credential_provider,
            consent: &self.consent,
            limits: self.limits,
            without_backup: None,
            accounts: self.accounts.clone(),
            offline: self.offline,
        }
    }

    /// Locks an environment for a command that changes it, and loads it.
    pub(crate) fn lock_environment(
        &self,
        name: &str,
        command: &str,
    ) -> Result<(environment::Environment, EnvironmentLock), Failure> {
        // Only a folder that is an environment gets a lock.
        self.environment(name)?;
        let lock = EnvironmentLock::acquire(&self.context(), name, command)?;
        // Loaded again: a command that held the lock before may have changed it.
        Ok((self.environment(name)?, lock))
    }

    /// Loads an environment.
    ///
    /// # Errors
    /// [`Failure::IsSet`] if `name` is a set instead.
    pub(crate) fn environment(&self, name: &str) -> Result<environment::Environment, Failure> {
        match self.workspace.load(name) {
            Err(release::Error::Environment(environment::Error::Unknown { .. }))
                if release::set::exists(&self.workspace, name) =>
            {
                Err(Failure::IsSet(name.to_owned()))
            }
            loaded => Ok(loaded?),
        }
    }
}

/// Finds the workspace: `named`, else the nearest parent folder that contains `environments/`, else
/// the workspace that cargo runs this program from.
pub(crate) fn root(named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
    if let Some(named) = named {
        if is_workspace(named) {
            return camino::absolute_utf8(named)
                .map_err(|_| Failure::NotAWorkspace(named.to_owned()));
        }
        return Err(match named.exists() {
            true => Failure::NotAWorkspace(named.to_owned()),
            false => Failure::NoFolder(named.to_owned()),
        });
    }
    let here = std::env::current_dir().map_err(|_| Failure::NoWorkspace(".".into()))?;
    let here = Utf8PathBuf::from_path_buf(here)
        .map_err(|here| Failure::NotUtf8(here.to_string_lossy().into_owned()))?;
    let built_in = std::env::var("CARGO_MANIFEST_DIR")
        .ok()
        .map(Utf8PathBuf::from);
    here.ancestors()
        .find(|folder| is_workspace(folder))
        .or_else(|| built_in.as_deref().and_then(Utf8Path::parent))
        .map(Utf8Path::to_owned)
        .ok_or(Failure::NoWorkspace(here))
}

/// Returns whether a folder is a workspace. A dangling link `environments` counts, because a later
/// check reports it.
fn is_workspace(folder: &Utf8Path) -> bool {
    let environments = folder.join("environments");
    environments.is_dir() || environments.is_symlink()
}

/// Finds the workspace, or the folder that `unpack` creates one in.
fn root_or_new(named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
    root(named).or_else(|error| {
        let folder = named.unwrap_or(Utf8Path::new(NEW_WORKSPACE));
        camino::absolute_utf8(folder).map_err(|_| error)
    })
}

/// Folder that `unpack` creates in the current folder for a new workspace.
const NEW_WORKSPACE: &str = "airlock-workspace";

/// Converts a time of the system's clock. Libraries panic at dates outside of the years 1970 to
/// 9999.
///
/// # Errors
/// [`Failure::Clock`] for such a date.
fn timestamp(now: SystemTime) -> Result<jiff::Timestamp, Failure> {
    jiff::Timestamp::try_from(now)
        .ok()
        .filter(|now| *now >= jiff::Timestamp::UNIX_EPOCH)
        .ok_or(Failure::Clock)
}

/// Checks that threads can be started, because libraries panic if they cannot. `ulimit -u` and
/// containers limit them.
fn check_threads() -> Result<(), Failure> {
    /// Threads besides those of the runtime, which has one for each processor.
    const SPARE: usize = 8;
    let count = std::thread::available_parallelism().map_or(1, usize::from) + SPARE;
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let closed = gate.lock();
        let started = (0..count).try_for_each(|_| {
            let thread = std::thread::Builder::new().stack_size(64 * 1024);
            // Each waits for the gate, so all of them exist at the same time.
            thread.spawn_scoped(scope, || drop(gate.lock())).map(drop)
        });
        drop(closed);
        started.map_err(Failure::Threads)
    })
}

/// Adds secrets in the process's variables to the masked ones, even if this run does not use them.
fn mask_variables() {
    const SUFFIXES: &[&str] = &["_password", "_token", "_secret"];
    /// A shorter value may be a word such as `true`. Secrets that a run uses are added elsewhere,
    /// of any length.
    const SHORTEST: usize = 8;
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let lower = name.to_ascii_lowercase();
        if lower.ends_with("_proxy") {
            redaction::run().add_url(value);
        } else if value.len() >= SHORTEST && SUFFIXES.iter().any(|suffix| lower.ends_with(suffix)) {
            let username = name.replace("_PASSWORD", "_USERNAME");
            redaction::run().add_password(&std::env::var(username).unwrap_or_default(), value);
        }
    }
}

fn tool() -> Result<Tool, Failure> {
    timestamp(SystemTime::now())?;
    check_threads()?;
    let executable = std::env::current_exe()
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        .ok_or(Failure::NoExecutable)?;
    Ok(Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        executable,
        variables: release::Variables::inherited(std::env::vars_os()),
        cargo_variables: release::Variables::for_cargo(std::env::vars_os()),
        // Set by `cargo run`. Other programs are never rebuilt, so their value does not matter.
        package: std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "xtask".to_owned()),
        // The clock was valid when the program started.
        now: || timestamp(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        signals: std::sync::Arc::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_outside_of_1970_to_9999_is_an_error() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(timestamp(at(0)).unwrap().as_second(), 0);
        assert_eq!(
            timestamp(at(1_800_000_000)).unwrap().as_second(),
            1_800_000_000
        );
        // The year 36000, and the day before 1970.
        for far in [
            at(1_074_000_000_000),
            SystemTime::UNIX_EPOCH - Duration::from_secs(86_400),
        ] {
            assert!(matches!(timestamp(far), Err(Failure::Clock)), "{far:?}");
        }
    }
}
