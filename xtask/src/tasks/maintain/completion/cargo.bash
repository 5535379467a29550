# The program by its own name, and `cargo xtask`. Other commands of cargo are completed as before.
complete -o nospace -o bashdefault -F _clap_complete_airlock xtask
_airlock_cargo_before=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
_airlock_cargo() {
    if [[ ${COMP_CWORD} -ge 2 && ${COMP_WORDS[1]} == xtask ]]; then
        COMP_WORDS=(airlock "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _clap_complete_airlock airlock "$2" "$3"
    elif [[ -n ${_airlock_cargo_before} && ${_airlock_cargo_before} != _airlock_cargo ]]; then
        "${_airlock_cargo_before}" "$@"
    fi
}
complete -o bashdefault -o default -F _airlock_cargo cargo
