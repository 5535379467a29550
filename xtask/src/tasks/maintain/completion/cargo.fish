# The program by its own name, and `cargo xtask`. Other commands of cargo are completed as before.
complete --command xtask --wraps airlock
complete --keep-order --no-files --command cargo --condition '__fish_seen_subcommand_from xtask' --arguments "(AIRLOCK_COMPLETE=fish PROGRAM -- airlock (commandline --current-process --tokenize --cut-at-cursor)[3..] (commandline --current-token))"
