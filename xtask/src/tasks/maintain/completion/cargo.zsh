# The program by its own name, and `cargo xtask`. Other commands of cargo are completed as before.
compdef _clap_dynamic_completer_airlock xtask
_airlock_cargo() {
    if (( CURRENT > 2 )) && [[ $words[2] == xtask ]]; then
        words=(airlock "${(@)words[3,-1]}")
        (( CURRENT -= 1 ))
        _clap_dynamic_completer_airlock
    elif (( $+functions[_cargo] )); then
        _cargo "$@"
    fi
}
compdef _airlock_cargo cargo
