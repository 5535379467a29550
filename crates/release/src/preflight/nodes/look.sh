# Reports facts about a node before an installation. It is sent to the node's shell, after variables; see nodes/script.rs.
#
# It writes nothing, not even a temporary file: programs that verify certificates read the CA from a pipe.
# Each line of output is `airlock`, a subject, a keyword and a text, separated by tabs. If a minimal node lacks a program, the
# keyword is `unknown` and the text is the reason. No program may read standard input, which is this script.

have() { command -v "$1" >/dev/null 2>&1; }

say() { printf 'airlock\t%s\t%s\t%s\n' "$1" "$2" "$(printf '%s' "$3" | tr '\t\r\n' '   ')"; }

# bounded SECONDS COMMAND...
bounded() { if have timeout; then timeout "$@"; else shift; "$@"; fi; }

# with_ca COMMAND...: runs it with the CA, if any, as standard input.
with_ca() { if [ -n "$ca" ]; then printf '%s\n' "$ca" | "$@"; else "$@" </dev/null; fi; }

first_line() { sed -n '/./{p;q;}'; }

# resolve WHAT NAME
resolve() {
    if ! have getent; then
        say "$1" unknown 'there is no getent'
        return
    fi
    found=$(bounded 4 getent hosts "$2" 2>/dev/null)
    code=$?
    case $code in
        0) say "$1" found "$(printf '%s\n' "$found" | while read -r address _; do printf '%s ' "$address"; done)" ;;
        2) say "$1" missing '' ;;
        124 | 143) say "$1" late 'no answer within 4 s' ;;
        *) say "$1" unknown "getent ended with $code" ;;
    esac
}

# Three ways to send a request. Each sets outcome (verified, untrusted, unreachable, late, failed), status, said and challenge.
by_curl() {
    answer=$(with_ca curl -q -sS --noproxy '*' --connect-timeout 4 --max-time 6 ${ca:+--cacert /dev/stdin} \
        -H "Accept: $kinds" ${token:+-H "Authorization: Bearer $token"} \
        -o /dev/null -D - -w '\nairlock-status %{http_code}\n' "$1" 2>&1)
    case $? in
        0) outcome=verified ;;
        51 | 58 | 60 | 83 | 90 | 91) outcome=untrusted ;;
        6 | 7) outcome=unreachable ;;
        28) outcome=late ;;
        *) outcome=failed ;;
    esac
    status=$(printf '%s\n' "$answer" | sed -n 's/^airlock-status //p')
    said=$(printf '%s\n' "$answer" | sed -n 's/^curl: ([0-9]*) //p' | first_line)
    # For a CA of the same name with a different key, curl reports an error of the handshake.
    case $outcome:$said in
        failed:*[Cc]ertificate* | failed:*asn1* | failed:*signature*) outcome=untrusted ;;
    esac
    challenge_of "$answer"
}

by_wget() {
    answer=$(with_ca wget --no-config -S -O /dev/null --tries=1 --timeout=4 --no-proxy ${ca:+--ca-certificate=/dev/stdin} \
        --header="Accept: $kinds" ${token:+--header="Authorization: Bearer $token"} "$1" 2>&1)
    case $? in
        0 | 6 | 8) outcome=verified ;;
        5) outcome=untrusted ;;
        4) outcome=unreachable ;;
        *) outcome=failed ;;
    esac
    status=$(printf '%s\n' "$answer" | sed -n 's,^ *HTTP/[0-9.]* \([0-9]*\).*,\1,p' | tail -n 1)
    said=$(printf '%s\n' "$answer" | grep -i 'error\|failed\|unable\|cannot' | first_line)
    challenge_of "$answer"
}

by_openssl() {
    path=/${1#https://*/}
    host=${1#https://}
    host=${host%%/*}
    case $host in
        *]:* | *[!]]:[0-9]*) port=${host##*:} name=${host%:*} ;;
        *) port=443 name=$host ;;
    esac
    name=${name#\[}
    name=${name%\]}
    case $name in
        *[!0-9.]*) match="-verify_hostname $name -servername $name" ;;
        *) match="-verify_ip $name" ;;
    esac
    # The CA has a descriptor of its own, because the request is standard input.
    answer=$(
        {
            printf 'GET %s HTTP/1.0\r\nHost: %s\r\nAccept: %s\r\n' "$path" "$host" "$kinds"
            [ -n "$token" ] && printf 'Authorization: Bearer %s\r\n' "$token"
            printf '\r\n'
        } | bounded 6 openssl s_client -quiet -ign_eof -verify_return_error $match ${ca:+-CAfile /dev/fd/3} \
            -connect "$name:$port" 3<<END 2>&1
$ca
END
    )
    code=$?
    status=$(printf '%s\n' "$answer" | sed -n 's,^HTTP/[0-9.]* \([0-9]*\).*,\1,p' | first_line)
    said=$(printf '%s\n' "$answer" | sed -n 's/^verify error:num=[0-9]*://p' | first_line)
    if [ -n "$status" ]; then
        outcome=verified
    elif [ -n "$said" ]; then
        outcome=untrusted
    elif [ "$code" = 124 ]; then
        outcome=late
    else
        outcome=failed
        said=$(printf '%s\n' "$answer" | grep -i 'error\|errno\|refused' | first_line)
    fi
    challenge_of "$answer"
}

challenge_of() {
    challenge=$(printf '%s\n' "$1" | tr -d '\r' | sed -n 's/^ *[Ww][Ww][Ww]-[Aa]uthenticate: *//p' | first_line)
}

# part NAME: prints a parameter of the challenge.
part() { printf '%s' "$challenge" | sed -n "s/.*$1=\"\\([^\"]*\\)\".*/\\1/p"; }

# Requests a token without credentials, as a node does. Needs curl or wget.
anonymous_token() {
    realm=$(part realm)
    query="service=$(part service)&scope=repository:$repository:pull"
    case $realm in *\?*) from="$realm&$query" ;; *) from="$realm?$query" ;; esac
    from=$(printf '%s' "$from" | sed 's/ /%20/g')
    if [ "$way" = by_curl ]; then
        answer=$(with_ca curl -q -sS --noproxy '*' --connect-timeout 4 --max-time 6 ${ca:+--cacert /dev/stdin} "$from" 2>&1)
    else
        answer=$(with_ca wget --no-config -q -O - --tries=1 --timeout=4 --no-proxy ${ca:+--ca-certificate=/dev/stdin} "$from" 2>&1)
    fi
    token=$(printf '%s' "$answer" | tr '\n' ' ' | sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p')
    [ -n "$token" ] || token=$(printf '%s' "$answer" | tr '\n' ' ' | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')
}

ask_registry() {
    if have curl; then
        way=by_curl
    elif have wget && wget --version 2>/dev/null | grep -q 'GNU Wget'; then
        way=by_wget
    elif have openssl; then
        way=by_openssl
    else
        say https unknown 'there is neither curl nor GNU wget nor openssl'
        say pull unknown 'there is neither curl nor GNU wget nor openssl'
        return
    fi
    kinds='*/*'
    token=
    $way "https://$registry/v2/"
    if [ "$outcome" != verified ]; then
        say https "$outcome" "$said"
        return
    fi
    say https verified "$status"
    [ -n "$reference" ] || return
    kinds='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json'
    url="https://$registry/v2/$repository/manifests/$reference"
    $way "$url"
    case $status:$challenge in
        401:[Bb]earer*)
            if [ "$way" = by_openssl ]; then
                say pull unknown 'it wants a token first, and there is neither curl nor GNU wget to ask for one'
                return
            fi
            anonymous_token
            if [ -n "$token" ]; then
                $way "$url"
            else
                say pull token "$(part realm)"
                return
            fi
            ;;
    esac
    if [ "$outcome" = verified ]; then
        say pull "${status:-unknown}" "$url"
    else
        say pull unknown "${said:-no answer}"
    fi
}

# Prints proxy variables. Text before an @ may be a password and is masked.
proxies() {
    sed -n 's/^\([A-Za-z]*_[Pp][Rr][Oo][Xx][Yy]\)=/\1=/p' | tr -d "\"'" | sed 's/=.*@/=***@/' | sort -u
}

# Prints the variables of k0s's units, which do not get those of a login: from units, drop-ins and their EnvironmentFiles.
unit_variables() {
    for file in /etc/systemd/system.conf /etc/systemd/system.conf.d/*.conf \
        /etc/systemd/system/k0s*.service /etc/systemd/system/k0s*.service.d/*.conf \
        /run/systemd/system/k0s*.service.d/*.conf /usr/lib/systemd/system/k0s*.service.d/*.conf; do
        [ -r "$file" ] || continue
        sed -n 's/^ *\(Default\)\{0,1\}Environment= *//p' "$file" | tr -d "'" | tr '" ' '\n\n'
        for more in $(sed -n 's/^ *EnvironmentFile= *-\{0,1\}//p' "$file"); do
            [ -r "$more" ] && sed 's/^ *export *//' "$more"
        done
    done
}

# Reports how the account can become root.
rights() {
    if ! have id; then
        say sudo unknown 'there is no id'
    elif [ "$(id -u)" = 0 ]; then
        say sudo root ''
    elif have sudo; then
        if said=$(bounded 4 sudo -n true 2>&1 >/dev/null); then say sudo free ''; else say sudo password "$said"; fi
    elif have doas; then
        if said=$(bounded 4 doas -n true 2>&1 >/dev/null); then say sudo free ''; else say sudo password "$said"; fi
    else
        say sudo missing ''
    fi
}

# Reports missing packages that are not in the bundle: SELinux's policy and tools, and the library for FIPS.
packages() {
    if [ -r /sys/fs/selinux/enforce ]; then
        [ -d /usr/share/containers/selinux ] || [ -e /usr/share/selinux/packages/container.pp.bz2 ] ||
            say package missing container-selinux
        for tool in /usr/sbin/restorecon /usr/sbin/sestatus; do
            [ -x "$tool" ] || say package missing policycoreutils
        done
        [ -x /usr/sbin/semanage ] || say package missing policycoreutils-python-utils
    fi
    if [ -n "$fips" ] && [ ! -e /usr/lib/x86_64-linux-gnu/libcrypto-k0s.so.3 ] && [ ! -e /usr/lib64/libcrypto-k0s.so.3 ]; then
        say package fips libcrypto-k0s.so.3
    fi
    say package end ''
}

look() {
    say time "$(date +%s)" ''
    say machine "$(uname -m)" "$( (. /etc/os-release && printf '%s %s' "$ID" "$VERSION_ID") 2>/dev/null)"
    [ -z "$name" ] || resolve name "$name"
    [ -z "$balancer" ] || resolve balancer "$balancer"
    ask_registry

    folder=$data
    while [ ! -d "$folder" ] && [ "$folder" != / ]; do
        folder=${folder%/*}
        folder=${folder:-/}
    done
    if have df; then
        df -Pk "$folder" 2>/dev/null | tail -n 1 | {
            read -r _ _ _ free _
            say disk "${free:-unknown}" "$folder"
        }
    else
        say disk unknown 'there is no df'
    fi

    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        say cgroup 2 ''
    elif [ -d /sys/fs/cgroup/memory ] || [ -d /sys/fs/cgroup/cpu ]; then
        say cgroup 1 ''
    else
        say cgroup unknown 'there is nothing in /sys/fs/cgroup'
    fi

    {
        env
        sed 's/^ *export *//' /etc/environment 2>/dev/null
    } | proxies | while IFS= read -r variable; do say proxy variable "$variable"; done
    say proxy end ''
    unit_variables 2>/dev/null | proxies | while IFS= read -r variable; do say unit variable "$variable"; done
    say unit end ''

    if have systemctl; then
        for service in firewalld.service nm-cloud-setup.service nm-cloud-setup.timer; do
            if systemctl is-active --quiet "$service" 2>/dev/null; then say service active "$service"; fi
        done
        say service end ''
    else
        say service unknown 'there is no systemctl'
    fi
    if [ -r /sys/fs/selinux/enforce ]; then
        read -r enforcing </sys/fs/selinux/enforce
        say selinux "$enforcing" ''
    fi
    rights
    id=$(sed -n 1p /etc/machine-id 2>/dev/null)
    [ -n "$id" ] || id=$(sed -n 1p /var/lib/dbus/machine-id 2>/dev/null)
    say identity "${id:-none}" "$(uname -n)"
    say system "$(grep -c '^processor' /proc/cpuinfo)" "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
    say inotify "$(sed -n 1p /proc/sys/fs/inotify/max_user_instances)" "$(sed -n 1p /proc/sys/fs/inotify/max_user_watches)"
    packages
    say end '' ''
}

look </dev/null
exit 0
