# Brings a Debian machine to what builds and tests need, as far as it is not there yet; sourced by scripts.
# shellcheck shell=bash

rust_needed=1.94
go_needed=1.21
# What is built once is kept outside the checkout, keyed by version.
cache=${TPM_ATTESTOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tpm-attestor}

# Installs those of the named Debian packages that are missing.
need_packages() {
    local package missing=()
    for package in "$@"; do
        if [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing packages; on Debian, as root: apt-get install ${missing[*]}" >&2
        return 69
    fi
    echo "installing ${missing[*]}"
    # The first try spares the network if the lists are fresh.
    apt_install "${missing[@]}" >/dev/null 2>&1 || { apt-get -qq update && apt_install "${missing[@]}"; }
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" </dev/null
}

# Finds a Rust toolchain that is new enough, or installs one; RUSTUP_TOOLCHAIN and PATH may change.
need_rust() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if at_least "$rust_needed" "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)"; then
        return
    fi
    echo "installing a Rust toolchain"
    if ! command -v rustup >/dev/null; then
        need_rustup
    fi
    export RUSTUP_TOOLCHAIN=stable
    rustup toolchain install stable --profile minimal --component clippy --component rustfmt
    at_least "$rust_needed" "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)"
}

# Debian 13 has rustup, Debian 12 has not.
need_rustup() {
    if [ -n "$(apt-cache search --names-only '^rustup$' 2>/dev/null)" ] && need_packages rustup; then
        return
    fi
    need_packages ca-certificates curl
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
        sh -s -- -y --no-modify-path --default-toolchain none
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
}

# Installs parts of the toolchain that are missing: the components rustfmt and clippy, and the target named.
need_rust_parts() {
    local target=$1
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target"
}

# Builds a tool of cargo's in the cache, if it is not there yet. Unoptimised that takes a third of the time.
need_cargo_tool() {
    local name=$1 version=$2 home partial
    home=$cache/$name-$version
    if [ -x "$home/bin/$name" ]; then
        return
    fi
    mkdir -p "$cache"
    partial=$(mktemp -d "$home.partial.XXXXXX")
    cargo install --locked --debug --version "$version" --root "$partial" "$name"
    # Another run may have been faster.
    mv -T "$partial" "$home" || rm -rf "$partial"
}

# Finds a Go toolchain that is new enough to get, by itself, the one that a module asks for.
need_go() {
    export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
    if go_is_new; then
        return
    fi
    need_packages golang-go ca-certificates
    if go_is_new; then
        return
    fi
    # Too old to do that, but toolchains are modules like others, except that modules hold no executables.
    local modules version toolchain
    modules=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    version=$(sed -n 's/^go //p' "$modules"/*/*/go.mod | sort -V | tail -n 1)
    toolchain=golang.org/toolchain@v0.0.1-go$version.$(go env GOOS)-$(go env GOARCH)
    echo "fetching Go $version"
    (cd / && go mod download "$toolchain")
    toolchain=$(go env GOMODCACHE)/$toolchain
    chmod u+x "$toolchain"/bin/* "$toolchain"/pkg/tool/*/*
    export PATH="$toolchain/bin:$PATH"
    go_is_new
}

go_is_new() { at_least "$go_needed" "$(go env GOVERSION 2>/dev/null | sed 's/^go//')"; }

# Whether version $2 is $1 or later; no version is not.
at_least() { [ -n "$2" ] && printf '%s\n' "$1" "$2" | sort -V -C; }
