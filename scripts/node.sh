# Node.js, and packages from npm. Sourced by setup-payments.sh, clients.sh and build-templates.sh, which set root, the project's
# directory, and have say and fail.
# shellcheck shell=bash disable=SC2154

# Where a Node.js goes that is newer than Debian's: npm has it as a package, one for each processor, and itself as well.
node_tools=$root/.tools/node
node_version=22.23.3
npm_version=10.9.4

# has_node MINIMUM: node of at least this version is on PATH, and npm.
has_node() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        [[ $(printf '%s\n' "$1" "$(node --print process.versions.node)" | sort --version-sort | head -n 1) == "$1" ]]
}

apt_node() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq "$@" </dev/null >/dev/null
}

debian_node() {
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        return 1
    fi
    say "Node.js … installing Debian's nodejs and npm"
    apt_node update || say "Debian package lists … could not be fetched, going on with those that are here"
    apt_node install --yes --no-install-recommends nodejs npm
}

npm_quietly() {
    npm "$@" --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >/dev/null
}

# For where the one on PATH is too old. With an npm, because Debian's runs on Debian's only.
npm_node() {
    local processor package
    case $(uname -m) in
        x86_64) processor=x64 ;;
        aarch64) processor=arm64 ;;
        *) return 1 ;;
    esac
    package=node-linux-$processor
    if [[ $(cat "$node_tools/.version" 2>/dev/null) != "$node_version $npm_version" ]]; then
        say "Node.js … installing $node_version into .tools/node"
        npm_quietly install --prefix "$node_tools" "$package@$node_version" "npm@$npm_version" || return
        printf '%s' "$node_version $npm_version" >"$node_tools/.version"
    fi
    PATH=$node_tools/node_modules/$package/bin:$node_tools/node_modules/.bin:$PATH
    export PATH
    hash -r
}

# setup_node MINIMUM: makes sure of it, or ends the script.
setup_node() {
    local minimum=$1
    command -v node >/dev/null && command -v npm >/dev/null || debian_node || true
    if command -v npm >/dev/null && ! has_node "$minimum"; then
        npm_node || true
    fi
    has_node "$minimum" || fail "no Node.js $minimum or newer with npm: install it, or, on Debian, run this script as root"
}

# install_packages FOLDER DIGEST NAME: what the lock file in FOLDER lists, or else its package.json, unless it was installed
# from what has this digest.
install_packages() {
    local folder=$1 wanted=$2 name=$3 stamp=$1/node_modules/.installed-from command=(install --no-package-lock)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
        return
    fi
    say "$name … installing"
    if [[ -f $folder/package-lock.json ]]; then
        command=(ci)
    fi
    (cd "$folder" && npm_quietly "${command[@]}")
    printf '%s\n' "$wanted" >"$stamp"
}

# What the projects in JavaScript are built with: that of templates/js, the same for all.
template_packages=$root/.tools/template-js

setup_template_packages() {
    setup_node 20.19
    mkdir -p "$template_packages"
    cp "$root/templates/js/package.json" "$template_packages"
    install_packages "$template_packages" "$(sha256sum <"$template_packages/package.json" | cut -d' ' -f1)" 'packages for JavaScript'
}
