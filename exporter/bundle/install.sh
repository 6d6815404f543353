#!/bin/sh
# Installs this bundle, without a network, beside what an earlier one installed; then the two change places. Made by
# `pocketlens bundle`. Nothing outside the prefix changes, but for the unit of the service with --service.
set -eu

name=@NAME@
target=@TARGET@
python_version=@PYTHON@
sees_system=@SEES_SYSTEM@
has_selftest=@HAS_SELFTEST@
unit=@UNIT@
unit_prefix=/opt/pocketlens-$name

usage() {
    cat <<EOF_USAGE
usage: sh install.sh [--prefix DIR] [--python FILE]$([ -z "$unit" ] || echo ' [--service]')

Installs pocketlens and the model '$name', for $target, without a network. Installing it again changes nothing; another
bundle of this name replaces it, and if that one does not work here, the earlier one stays.

  --prefix DIR   where to install [default: $unit_prefix as root, else ~/.local/share/pocketlens-$name]
  --python FILE  the Python to use [default: python$python_version, else python3]
$([ -z "$unit" ] || echo "  --service      also install, enable and start $unit (systemd, as root)")
EOF_USAGE
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

bad_usage() {
    printf 'error: %s\n' "$*" >&2
    usage >&2
    exit 2
}

# Messages of other programs are compared below.
LC_ALL=C
export LC_ALL
umask 022
# A shell's settings for Python and pip must not reach the installation.
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX VIRTUAL_ENV
PYTHONNOUSERSITE=1
PIP_CONFIG_FILE=/dev/null
export PYTHONNOUSERSITE PIP_CONFIG_FILE

start_folder=$(pwd)
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
prefix='' python='' with_service='' release='' made_prefix=''

while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --python)
        [ $# -ge 2 ] || bad_usage "$1 needs a value"
        if [ "$1" = --prefix ]; then prefix=$2; else python=$2; fi
        shift
        ;;
    --service)
        [ -n "$unit" ] || bad_usage "this bundle holds no service; make one with: pocketlens bundle --service"
        with_service=yes
        ;;
    --help | -h) usage && exit 0 ;;
    *) bad_usage "$1: no such option" ;;
    esac
    shift
done

choose_prefix() {
    if [ -z "$prefix" ] && [ "$(id -u)" -eq 0 ]; then
        prefix=$unit_prefix
    elif [ -z "$prefix" ]; then
        prefix=${XDG_DATA_HOME:-${HOME:?error: HOME is not set: give --prefix}/.local/share}/pocketlens-$name
    fi
    case $prefix in
    /*) ;;
    *) prefix=$start_folder/$prefix ;;
    esac
    prefix=${prefix%/}
    # It stands in the first lines of scripts, and in the unit.
    case $prefix in
    *[!A-Za-z0-9._/+@-]*) fail "$prefix: a prefix consists of letters, digits and ._/+@-; give another --prefix" ;;
    esac
}

starts() { "$1" -c '' >/dev/null 2>&1; }

choose_python() {
    if [ -n "$python" ]; then
        starts "$python" || fail "$python: cannot be started as Python; give another --python"
        return 0
    fi
    for python in "python$python_version" python3; do
        ! starts "$python" || return 0
    done
    fail "no python3 is installed; this bundle needs Python $python_version"
}

check_service() {
    [ -n "$with_service" ] || return 0
    case $prefix/ in
    /home/* | /root/* | /tmp/* | /var/tmp/* | /run/user/*) fail "a service cannot see $prefix; give another --prefix" ;;
    esac
    [ "$(id -u)" -eq 0 ] || fail "--service needs root: sudo sh install.sh --service"
    [ -d /run/systemd/system ] ||
        fail "systemd does not run here: leave out --service, and start it yourself: the command is in $unit"
    [ ! -e "/etc/systemd/system/$unit" ] || [ "$(head -n 1 "/etc/systemd/system/$unit")" = "$(head -n 1 "$here/$unit")" ] ||
        fail "/etc/systemd/system/$unit: not written by Pocketlens; it stays as it is"
}

check_files() {
    [ -r "$here/bundle.json" ] || fail "$here/bundle.json is missing; unpack the bundle again"
    command -v sha256sum >/dev/null || fail "sha256sum is not installed"
    sums=$(sed -n 's/^ *{"path": "\([^"]*\)".*"sha256": "\([0-9a-f]*\)"}.*$/\2  \1/p' "$here/bundle.json")
    [ -n "$sums" ] || fail "$here/bundle.json is damaged; copy the bundle again"
    bad=$(cd "$here" && printf '%s\n' "$sums" | sha256sum -c 2>/dev/null | sed -n 's/: FAILED.*$//p')
    [ -z "$bad" ] || fail "$(printf '%s' "$bad" | tr '\n' ' '): damaged or missing; copy the bundle again"
}

# Undo a half-done installation: whatever ends this script, the earlier one stays as it was.
undo() {
    status=$?
    trap - EXIT
    [ -z "$release" ] || rm -rf "$release"
    [ -z "$made_prefix" ] || rm -rf "$prefix"
    if [ -e "$prefix/current" ]; then
        say "undone: the earlier installation in $prefix stays as it was" >&2
    else
        say "undone: nothing is installed" >&2
    fi
    exit "$status"
}

begin() {
    [ -d "$prefix" ] || made_prefix=yes
    trap undo EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$prefix/releases"
    if command -v flock >/dev/null; then
        exec 9>"$prefix/.lock"
        flock -n 9 || {
            made_prefix=''
            fail "$prefix: another installation is running"
        }
    fi
    remove_leftovers
}

# What a killed installation left, and releases before the last one.
remove_leftovers() {
    rm -f "$prefix"/.new-*
    for folder in "$prefix"/releases/*; do
        case $folder in
        "$prefix/$(readlink "$prefix/current" || true)" | "$prefix/$(readlink "$prefix/previous" || true)") ;;
        *) rm -rf "$folder" ;;
        esac
    done
}

# Programs of this release check the machine and the model's answers.
works() {
    POCKETLENS_CACHE=$1/cache
    export POCKETLENS_CACHE
    "$1/env/bin/pocketlens" doctor "$1/model.tflite" || return 1
    [ -z "$has_selftest" ] || "$1/env/bin/pocketlens" selftest "$1/model.tflite" || return 1
    rm -rf "$1/cache"
    unset POCKETLENS_CACHE
}

install_release() {
    id=$(sha256sum "$here/bundle.json" | cut -c 1-12)
    release=$prefix/releases/$id
    number=2
    while [ -e "$release" ]; do
        release=$prefix/releases/$id-$number
        number=$((number + 1))
    done
    mkdir "$release"
    say "installing into $release"
    "$python" -m venv --without-pip ${sees_system:+--system-site-packages} "$release/env"
    pip=$(echo "$here"/pip/pip-*.whl)/pip
    "$release/env/bin/python" "$pip" --isolated install --quiet --disable-pip-version-check --no-input \
        --no-cache-dir --no-compile --no-warn-script-location --root-user-action=ignore \
        --no-index --find-links "$here/wheels" --only-binary :all: --require-hashes --requirement "$here/requirements.txt"
    packages=$(echo "$release"/env/lib/python*/site-packages)
    # numpy's own tests take 7 MB, and nothing imports them.
    [ ! -d "$packages/numpy" ] || find "$packages/numpy" -depth -type d -name tests -exec rm -rf {} +
    # What the checks below import is compiled by them; of the rest, only our commands.
    "$release/env/bin/python" -m compileall -q "$packages/runtime"
    for file in model.tflite labels.txt bundle.json; do
        cp "$here/$file" "$release/$file"
    done
    [ ! -f "$here/root.json" ] || cp "$here/root.json" "$release/root.json"
    works "$release" || fail "the installation does not work here, see above"
    sync
}

# Renaming a link replaces it at once: there is always one installation.
set_link() {
    ln -s "$1" "$prefix/.new-$2"
    "$python" -c 'import os, sys; os.replace(sys.argv[1], sys.argv[2])' "$prefix/.new-$2" "$prefix/$2"
}

# The Python is named through the link, so that a unit which this command writes outlives a release.
write_command() {
    mkdir -p "$prefix/bin"
    cat >"$prefix/.new-command" <<EOF_COMMAND
#!/bin/sh
POCKETLENS_MODEL=\${POCKETLENS_MODEL:-$prefix/current/model.tflite}
export POCKETLENS_MODEL
exec $prefix/current/env/bin/python $prefix/current/env/bin/pocketlens "\$@"
EOF_COMMAND
    chmod 755 "$prefix/.new-command"
    mv -f "$prefix/.new-command" "$prefix/bin/pocketlens"
}

enable_service() {
    sed "s|$unit_prefix/|$prefix/|g" "$here/$unit" >"/etc/systemd/system/.$unit.new"
    mv -f "/etc/systemd/system/.$unit.new" "/etc/systemd/system/$unit"
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    systemctl restart "$unit" ||
        fail "$unit is installed and does not start: journalctl -eu $unit; once that is mended: systemctl restart $unit"
    say "$unit runs; its lines: journalctl -fu $unit"
}

choose_prefix
check_files
choose_python
"$python" "$here/check_device.py" "$here/bundle.json" "$prefix" || exit 1
check_service
begin
if cmp -s "$here/bundle.json" "$prefix/current/bundle.json" && works "$prefix/current" >/dev/null 2>&1; then
    say "this bundle is installed already in $prefix, and works"
else
    install_release
    write_command
    earlier=$(readlink "$prefix/current" || true)
    [ -z "$earlier" ] || set_link "$earlier" previous
    set_link "releases/${release##*/}" current
    release='' made_prefix=''
    say "installed: $prefix/bin/pocketlens, with the model $prefix/current/model.tflite"
    [ ! -f "$prefix/current/root.json" ] ||
        say "for updates: $prefix/bin/pocketlens update --root $prefix/current/root.json --from ... --app ... --into ..."
fi
remove_leftovers
trap - EXIT INT TERM HUP
if [ -n "$with_service" ]; then
    enable_service
elif [ -n "$unit" ]; then
    say "to run it from the start of the machine on, or anew: sudo sh $here/install.sh --service"
fi
