#!/usr/bin/env bash
# Builds the templates for plugins as somebody outside would who has no copy of this tree: in another folder, without definitions of
# their own, from what lies in target/packages. Leaves target/outsiders/LANGUAGE.wasm for policies, and LANGUAGE-payments.wasm. What is
# up to date is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=$root/target/packages
out=$root/target/outsiders

say() { printf 'outsiders: %s\n' "$*"; }

fail() {
    printf 'outsiders: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/toolchain.sh
source "$root/scripts/toolchain.sh"
# shellcheck source=scripts/python.sh
source "$root/scripts/python.sh"
# shellcheck source=scripts/node.sh
source "$root/scripts/node.sh"

# build LANGUAGE WORLD PACKAGE: the component of a project in $work, unless it was made from the same package and template.
build() {
    local language=$1 world=$2 package=$packages/$3 template=$root/templates/$1-$2 name=$1 component=policy project stamp
    if [[ $world == payments ]]; then
        name=$language-payments component=payment
    fi
    project=$work/$name
    [[ -e $package ]] || fail "${package#"$root/"} is not built: run \`make packages\`"
    stamp=$(find "$package" "$0" "$template" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
    [[ -e $out/$name.wasm && $(cat "$out/.$name" 2>/dev/null) == "$stamp" ]] && return
    say "$name … building"
    cp -R "$template" "$project"
    rm -rf "$project/wit"
    grep -rl '{{name}}' "$project" | xargs sed -i "s/{{name}}/outsider-$name/g"
    (cd "$project" && "build_$language" "$package" "$world" "$component")
    mv "$project/$component.wasm" "$out/$name.wasm"
    printf '%s' "$stamp" >"$out/.$name"
}

build_rust() {
    local crate module=${2//-/_} feature=$2
    [[ $2 != payments ]] || feature=payments-with-quote
    crate=$(basename "$1" .crate)
    mkdir vendor
    tar -xzf "$1" -C vendor
    sed -i 's/^wit-bindgen = .*/hypervisor-plugin = { version = "'"${crate##*-}"'", features = ["'"$feature"'"] }/' Cargo.toml
    # What crates.io has once it is published.
    printf '\n[patch.crates-io]\nhypervisor-plugin = { path = "vendor/%s" }\n' "$crate" >>Cargo.toml
    sed -i -e "s/^use \\(exports::\\)\\?hypervisor::plugin::/use hypervisor_plugin::$module::/" \
        -e "s/^wit_bindgen::generate!.*/use hypervisor_plugin::$module::export;/" src/lib.rs
    use_guest_target || fail "no $guest_target target: run scripts/setup.sh first"
    # The lock file of the template gets one entry more: this package.
    local arguments=() argument
    for argument in "${guest_arguments[@]}"; do
        [[ $argument == --locked ]] || arguments+=("$argument")
    done
    # Every world compiles.
    cp Cargo.toml one.toml
    sed -i 's/features = \["'"$feature"'"\]/features = ['"$(sed -n '/^\[features\]/,/^$/s/^\([a-z-]*\) = .*/"\1",/p' "vendor/$crate/Cargo.toml" | tr -d '\n')"']/' Cargo.toml
    cargo build --quiet "${arguments[@]}" --package hypervisor-plugin </dev/null
    mv one.toml Cargo.toml
    cargo build --quiet "${arguments[@]}" </dev/null
    cp "$root/guests/target/$guest_target/release/$3.wasm" .
}

build_python() {
    mkdir -p .venv/lib/site-packages
    ln -s "$venv/bin" .venv/bin
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-index --no-deps \
        --target .venv/lib/site-packages "$1" </dev/null
    sed -i 's/ --wit-path wit --world component / --world policy-engine /' build.sh
    sh build.sh </dev/null >/dev/null
    # What a type checker reads has what the policy imports.
    PYTHONPATH=.venv/lib/site-packages "$venv/bin/python" -m hypervisor_plugin policy-engine types
    PYTHONPATH=types "$venv/bin/python" -c 'import app'
}

build_js() {
    sed -i 's/"devDependencies": {/&\n    "hypervisor-plugin": "*",/' package.json
    # The tools are there already; npm would take away what it did not install.
    mkdir tools && mv package.json tools
    npm_quietly install --offline --no-save "$1"
    mv tools/package.json .
    local tools=$template_packages/node_modules
    if [[ $2 == payments ]]; then
        # A world of its own, beside the package's definitions.
        mkdir wit
        cp "$root/templates/js-payments/wit/world.wit" wit
        cp -R node_modules/hypervisor-plugin/wit/deps wit/deps
        mkdir wit/deps/hypervisor-plugin
        cp node_modules/hypervisor-plugin/wit/*.wit wit/deps/hypervisor-plugin
        PATH=$tools/.bin:$PATH npm run --silent build </dev/null >/dev/null
        return
    fi
    sed -i 's/--wit wit --world-name component/--wit node_modules\/hypervisor-plugin\/wit --world-name policy-engine/' package.json
    # With types, which the compiler of TypeScript holds the policy to.
    sed -i -e '1i /// <reference types="hypervisor-plugin" />\n' \
        -e 's|^export const policy|/** @type {typeof import("hypervisor:plugin/policy@0.1.1")} */\n&|' policy.js
    local check=("$tools/.bin/tsc" --noEmit --checkJs --noImplicitAny false --target esnext --lib esnext,dom --types hypervisor-plugin)
    "${check[@]}" policy.js
    sed 's/"allow"/"perhaps"/' policy.js >wrong.js
    ! "${check[@]}" wrong.js >/dev/null || fail 'a policy of the wrong type passes the compiler of TypeScript'
    PATH=$tools/.bin:$PATH npm run --silent build </dev/null >/dev/null
}

mkdir -p "$out" "$root/.tools"
# Two builds at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$root/.tools/.lock-outsiders"
    flock 9
fi
setup_venv
setup_template_packages
# Nothing of this tree is above it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^package hypervisor:plugin@\(.*\);$/\1/p' "$root/wit/world.wit")
build rust policy-engine "hypervisor-plugin-$version.crate"
build rust payments "hypervisor-plugin-$version.crate"
build python policy-engine "hypervisor_plugin-$version-py3-none-any.whl"
build js policy-engine "hypervisor-plugin-$version.tgz"
build js payments "hypervisor-plugin-$version.tgz"
