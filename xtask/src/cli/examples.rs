//! The examples below the help of commands that people type often.

pub(crate) const DEPLOY: &str = "\
Examples:
  cargo xtask deploy lab                     # shows the plan, asks y/N
  cargo xtask deploy lab --yes               # for scripts
  cargo xtask deploy prod                    # protected: asks for its name
  cargo xtask deploy prod --plan prod.plan.yaml
  cargo xtask deploy prod --max-rate 20MB
";

pub(crate) const PLAN: &str = "\
Examples:
  cargo xtask plan prod
  cargo xtask plan prod --out prod.plan.yaml
  cargo xtask plan prod --markdown           # for a pull request
";

pub(crate) const LOCK: &str = "\
Examples:
  cargo xtask lock v4.1.5
  cargo xtask lock v4.1.5 --bundle mke_bundle_v4.1.5_amd64.tar.gz
  cargo xtask lock v4.1.5 --replace --diff   # accept a different bundle
  cargo xtask lock v4.1.5 --from registry.mirantis.com/mke --images list.txt
";

pub(crate) const UNPACK: &str = "\
Examples:
  cargo xtask unpack /media/disk             # into this workspace
  cargo xtask unpack /media/disk -C new-site # creates the workspace
  cargo xtask unpack /media/disk1 /media/disk2
";

pub(crate) const PUSH: &str = "\
Examples:
  cargo xtask push prod
  cargo xtask push staging prod              # reads the bundle once
  cargo xtask push prod --until 06:30 --max-rate 20MB
";

pub(crate) const MIGRATE: &str = "\
Examples:
  cargo xtask migrate prod --dry-run
  cargo xtask migrate prod
";

pub(crate) const PREFLIGHT: &str = "\
Examples:
  cargo xtask preflight prod
  cargo xtask preflight prod --nodes
";

pub(crate) const VERIFY: &str = "\
Examples:
  cargo xtask verify prod
  cargo xtask verify prod --full             # downloads and hashes every blob
  cargo xtask verify prod --repair
";

pub(crate) const DIFF: &str = "\
Examples:
  cargo xtask diff prod                      # rendered, committed, applied
  cargo xtask diff staging prod
  cargo xtask diff v4.1.3 v4.1.5
  cargo xtask diff platform                  # the lock of a set, against HEAD
  cargo xtask diff platform --since origin/main --markdown
  cargo xtask diff prod --live
";

pub(crate) const PRUNE: &str = "\
Examples:
  cargo xtask prune prod --out prune.yaml
  cargo xtask prune prod --plan prune.yaml
";

pub(crate) const PACK: &str = "\
Examples:
  cargo xtask pack prod --dry-run
  cargo xtask pack prod --out /media/disk --sign ~/.ssh/id_ed25519
  cargo xtask pack prod --out /media/disk --have prod.snapshot.yaml
  cargo xtask pack staging prod --out - | diode-send   # to a data diode
";

pub(crate) const COMPLETION: &str = "\
Examples:
  source <(/path/to/airlock completion bash) # in ~/.bashrc
  source <(/path/to/airlock completion zsh)  # in ~/.zshrc, after compinit
  /path/to/airlock completion fish | source  # in ~/.config/fish/config.fish
";
