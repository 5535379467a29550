//! What a command is run with: the workspace, the user interface, and what the process knows of itself.

#![expect(
    clippy::disallowed_methods,
    reason = "the process's environment and clock are read here"
)]

use camino::{Utf8Path, Utf8PathBuf};
use release::environment_lock::EnvironmentLock;
use release::{Context, Tool, Workspace};

use crate::cli::Cli;
use crate::consent::TerminalConsent;
use crate::credentials::EnvironmentKeeper;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) struct App<'a> {
    pub(crate) workspace: Workspace,
    pub(crate) tool: Tool,
    pub(crate) ui: &'a Ui,
    keeper: EnvironmentKeeper<'a>,
    consent: TerminalConsent,
    limits: release::push::Limits,
    accounts: release::Accounts,
}

impl<'a> App<'a> {
    pub(crate) fn new(cli: &Cli, ui: &'a Ui) -> Result<Self, Failure> {
        let tool = tool()?;
        Ok(Self {
            workspace: Workspace::new(root(cli.directory.as_deref())?),
            keeper: EnvironmentKeeper::new(ui, tool.variables.clone()),
            tool,
            ui,
            consent: TerminalConsent::new(cli.allows_visible_secrets()),
            limits: cli.limits(),
            accounts: release::Accounts::default(),
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            workspace: &self.workspace,
            reporter: self.ui,
            tool: &self.tool,
            keeper: &self.keeper,
            consent: &self.consent,
            limits: self.limits,
            without_backup: None,
            accounts: self.accounts.clone(),
        }
    }

    /// Loads an environment that a command is about to change, and locks it.
    pub(crate) fn lock_environment(
        &self,
        name: &str,
        command: &str,
    ) -> Result<(environment::Environment, EnvironmentLock), Failure> {
        // Only a folder that is an environment gets a lock.
        self.environment(name)?;
        let lock = EnvironmentLock::acquire(&self.context(), name, command)?;
        // The command that held the lock before may have changed it.
        Ok((self.environment(name)?, lock))
    }

    /// Loads an environment by its name.
    pub(crate) fn environment(&self, name: &str) -> Result<environment::Environment, Failure> {
        Ok(self.workspace.load(name)?)
    }
}

/// Finds the workspace: the folder that was named, else the nearest one upwards that holds `environments/`, else
/// the one that this program was built in.
fn root(named: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
    if let Some(named) = named {
        if named.join("environments").is_dir() {
            return std::path::absolute(named)
                .ok()
                .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
                .ok_or_else(|| Failure::NotAWorkspace(named.to_owned()));
        }
        return Err(Failure::NotAWorkspace(named.to_owned()));
    }
    let here = std::env::current_dir()
        .ok()
        .and_then(|here| Utf8PathBuf::from_path_buf(here).ok())
        .ok_or_else(|| Failure::NoWorkspace(Utf8PathBuf::from(".")))?;
    let built_in = std::env::var("CARGO_MANIFEST_DIR")
        .ok()
        .map(Utf8PathBuf::from);
    here.ancestors()
        .find(|folder| folder.join("environments").is_dir())
        .or_else(|| built_in.as_deref().and_then(Utf8Path::parent))
        .map(Utf8Path::to_owned)
        .ok_or(Failure::NoWorkspace(here))
}

fn tool() -> Result<Tool, Failure> {
    let executable = std::env::current_exe()
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok())
        .ok_or(Failure::NoExecutable)?;
    Ok(Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        executable,
        variables: release::Variables::inherited(std::env::vars_os()),
        now: jiff::Timestamp::now,
        signals: std::sync::Arc::default(),
    })
}
