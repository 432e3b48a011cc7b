#!/usr/bin/env bash
# Holds the parts of the tree to their sizes, which scripts/budgets.txt lists: prints a line for each, and fails where one is beyond
# its ceiling or has none. `budgets.sh --lower` brings the ceilings down to where the parts are.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
table=scripts/budgets.txt

# lines FOLDER: of Rust in its sources.
lines() {
    find "$1/src" -name '*.rs' -exec cat {} + | wc -l
}

if [[ ${1:-} == --lower ]]; then
    while IFS= read -r line; do
        read -r folder target ceiling <<<"$line"
        if [[ $target =~ ^[0-9]+$ && -d $folder ]]; then
            count=$(lines "$folder")
            lowest=$((count > target ? count : target))
            line=$(printf '%-22s %4s %8s' "$folder" "$target" $((lowest < ceiling ? lowest : ceiling)))
        fi
        printf '%s\n' "$line"
    done <"$table" >"$table.new"
    mv "$table.new" "$table"
fi

failed=
named=' '
printf '%-24s %7s %8s %8s\n' '' lines ceiling target
while read -r folder target ceiling; do
    [[ -z $folder || $folder == '#'* ]] && continue
    named+="$folder "
    [[ -d $folder && $target != - ]] || continue
    count=$(lines "$folder")
    note=
    if ((count > ceiling)); then
        note='  BEYOND ITS CEILING'
        failed=1
    elif ((count > target)); then
        note='  not there yet'
    fi
    printf '%-24s %7s %8s %8s%s\n' "$folder" "$count" "$ceiling" "$target" "$note"
done <"$table"
for folder in crates/*/ host/ ctl/; do
    folder=${folder%/}
    if [[ $named != *" $folder "* ]]; then
        printf '%-24s has no line in %s\n' "$folder" "$table"
        failed=1
    fi
done
if [[ -n $failed ]]; then
    printf 'budgets: a part is larger than it may be: make it smaller, or move what belongs elsewhere\n' >&2
    exit 1
fi
