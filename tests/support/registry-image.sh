#!/usr/bin/env bash
# Makes the image `registry:2` where it cannot be pulled, from the same program in Debian's package docker-registry:
# its binary and libraries, with the entry point and ports of the official image.
set -euo pipefail

if docker image inspect registry:2 >/dev/null 2>&1; then
    exit 0
fi
if timeout 60 docker pull --quiet registry:2 >/dev/null 2>&1; then
    exit 0
fi
if ! command -v docker-registry >/dev/null; then
    echo "registry:2 cannot be pulled, and docker-registry is not installed: apt-get install docker-registry" >&2
    exit 1
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
binary=$(command -v docker-registry)
mkdir -p "$root/bin" "$root/etc/docker/registry" "$root/var/lib/registry" "$root/tmp"
cp "$binary" "$root/bin/registry"
# The libraries that the binary is linked with, its loader among them, at the paths where it looks for them.
ldd "$binary" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
if [ -d /etc/ssl/certs ]; then
    mkdir -p "$root/etc/ssl"
    cp -rL /etc/ssl/certs "$root/etc/ssl/" 2>/dev/null || true
fi
cat > "$root/etc/docker/registry/config.yml" <<'CONFIG'
version: 0.1
log:
  level: info
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
CONFIG
tar -C "$root" -c . | docker import \
    --change 'ENTRYPOINT ["/bin/registry"]' \
    --change 'CMD ["serve", "/etc/docker/registry/config.yml"]' \
    --change 'EXPOSE 5000' \
    - registry:2 >/dev/null
echo "made registry:2 from $binary"
