# The tools from PyPI that make components: a virtual environment in .tools/venv. Sourced by build-components.sh and
# build-templates.sh, which set root, the project's directory, and have say and fail.
# shellcheck shell=bash disable=SC2154

venv=$root/.tools/venv
# By digest, and nothing else: what a component is measured as should follow from it.
venv_requirements=("$root/components/policy-python/requirements.txt" "$root/components/runtime-javascript/requirements.txt")

install_python() {
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
        fail "no python3 with its venv module: install it (on Debian \`apt-get install python3-venv\`) and run this again"
    fi
    say "installing Debian's python3-venv"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 -qq update </dev/null >/dev/null || true
    apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends python3-venv </dev/null >/dev/null
}

# install_requirements FOLDER FILE NAME: a virtual environment in FOLDER with what FILE lists by digest, unless it is there.
install_requirements() {
    local folder=$1 file=$2 name=$3
    cmp -s "$file" "$folder/.requirements" && return
    say "$name … installing"
    rm -rf "$folder"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_python
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --require-hashes --requirement "$file" </dev/null
    cp "$file" "$folder/.requirements"
}

make_venv() {
    local wanted
    wanted=$(cat "${venv_requirements[@]}" | sha256sum)
    [[ -x $venv/bin/componentize-py && $(cat "$venv/.requirements" 2>/dev/null) == "$wanted" ]] && return
    say "installing componentize-py and a C compiler into .tools/venv"
    rm -rf "$venv"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_python
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --require-hashes "${venv_requirements[@]/#/--requirement=}" </dev/null
    printf '%s' "$wanted" >"$venv/.requirements"
}

# Makes the environment where it is missing or out of date. Two scripts may want it at once.
setup_venv() {
    mkdir -p "$root/.tools"
    if command -v flock >/dev/null; then
        exec 8>"$root/.tools/.lock-venv"
        flock 8
    fi
    make_venv
    exec 8>&-
}
