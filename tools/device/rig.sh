#!/usr/bin/env bash
# The software of a Raspberry Pi on another machine: Debian's own packages for ARM, unpacked into a folder and run by
# qemu's user-mode emulation. Needs no root, no chroot and no binfmt, and changes nothing outside its folder.
set -euo pipefail

usage() {
    cat <<'EOF_USAGE'
usage: tools/device/rig.sh COMMAND TARGET [ARGUMENT...]

  build   get the emulator and the target's userland, unless they are there; print the path of its python3
  python  run the target's Python with the arguments
  pip     run pip in the target: the tags, markers and installed packages that pip sees are the device's
  remove  delete the target's userland

  arm64   Debian 12, 64-bit ARM, Python 3.11                  (Raspberry Pi OS bookworm, 64-bit)
  armhf   Debian 12, 32-bit ARM, Python 3.11, Debian's own
          numpy and Pillow, since PyPI has none               (Raspberry Pi OS bookworm, 32-bit)
  trixie  Debian 13, 64-bit ARM, Python 3.13                  (Raspberry Pi OS trixie, 64-bit)

Everything is kept under build/device, or under $DEVICE_HOME.
  DEBIAN_MIRROR  where packages come from (default: the Debian mirror of this machine's apt)
  QEMU_CPU       the processor to emulate (default: cortex-a72, a Raspberry Pi 4's; cortex-a7 for armhf)
EOF_USAGE
}

fail() {
    echo "error: $*" >&2
    exit 1
}

say() { echo "[$target] $*" >&2; }

[ $# -ge 2 ] || { usage >&2; exit 2; }
command=$1 target=$2
shift 2

packages=(libstdc++6)
case $target in
arm64) suite=bookworm architecture=arm64 python=python3.11 emulator=qemu-aarch64 cpu=cortex-a72 ;;
armhf) suite=bookworm architecture=armhf python=python3.11 emulator=qemu-arm cpu=cortex-a7
       packages+=(python3-numpy python3-pil) ;;
trixie) suite=trixie architecture=arm64 python=python3.13 emulator=qemu-aarch64 cpu=cortex-a72 ;;
*) usage >&2; exit 2 ;;
esac
packages+=("$python")

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${DEVICE_HOME:-$here/../../build/device}
mkdir -p "$home" || fail "$home: cannot be made; name another folder: DEVICE_HOME=..."
home=$(cd "$home" && pwd)
[[ $home != *[[:space:]]* ]] || fail "'$home': the first line of a script cannot name a path with a space; set DEVICE_HOME"
root=$home/$target
qemu=$home/qemu/$emulator
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

check_tools() {
    local tool
    for tool in apt-get dpkg tar; do
        command -v "$tool" >/dev/null || fail "$tool is not installed; the rig works on Debian and its relatives"
    done
    [ -r "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
}

mirror() {
    local found=${DEBIAN_MIRROR:-}
    [ -n "$found" ] || found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
        'Component: main' | sort -u | sed -n 1p)
    [ -n "$found" ] || fail "apt knows no Debian mirror: run apt-get update, or name one: DEBIAN_MIRROR=http://..."
    echo "$found"
}

# apt_fetch SUITE ARCHITECTURE FOLDER VERB... : download packages into FOLDER with an apt that has a state of its own.
apt_fetch() {
    local of_suite=$1 of_architecture=$2 folder=$3 source
    shift 3
    source=$(mirror)
    rm -rf "$folder"
    mkdir -p "$folder"/lists/partial "$folder"/cache/archives/partial
    : >"$folder/status"
    echo "deb [signed-by=$keyring] $source $of_suite main" >"$folder/sources.list"
    cat >"$folder/apt.conf" <<EOF_APT
Dir::State "$folder";
Dir::State::Lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "$of_architecture";
APT::Architectures { "$of_architecture"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
EOF_APT
    (
        cd "$folder/cache/archives"
        export APT_CONFIG=$folder/apt.conf
        apt-get -qq -o APT::Update::Error-Mode=any update || fail "the package lists of $of_suite cannot be fetched from $source"
        apt-get -qq -y "$@" >/dev/null || fail "apt-get $*: failed for $of_suite, $of_architecture from $source"
    )
}

# Debian 12's emulator crashes in ai-edge-litert; Debian 13's is one static file for every target.
get_emulator() {
    [ ! -x "$qemu" ] || return 0
    say "fetching the emulator"
    local folder=$home/qemu.partial
    apt_fetch trixie "$(dpkg --print-architecture)" "$folder" download qemu-user
    mkdir -p "$home/qemu"
    dpkg --fsys-tarfile "$folder"/cache/archives/qemu-user_*.deb |
        tar -x --strip-components=3 -C "$home/qemu" ./usr/bin/qemu-aarch64 ./usr/bin/qemu-arm
    rm -rf "$folder"
}

unpack() {
    local tree=$1 archives=$2 name archive library
    # Debian's /bin and /lib are links into /usr; some packages hold files under the one name, some under the other.
    for name in bin lib sbin; do
        mkdir -p "$tree/usr/$name"
        ln -s "usr/$name" "$tree/$name"
    done
    for archive in "$archives"/*.deb; do
        dpkg --fsys-tarfile "$archive" | tar -x --keep-directory-symlink -C "$tree"
    done
    # numpy asks for libblas.so.3 and liblapack.so.3, which a script of the package would have linked.
    for library in "$tree"/usr/lib/*/{blas/libblas,lapack/liblapack}.so.3; do
        [ ! -e "$library" ] || ln -sf "${library#"${library%/*/*}/"}" "${library%/*/*}/"
    done
}

# python3 is a script of this machine which starts the emulator and passes itself off as sys.executable. So a child
# process, a script whose first line names it, and a virtual environment made by it come back here with nothing
# registered in the kernel. pip reads the processor from the header of sys.executable: it gets the program's.
# Compiled modules are always kept: compiling is the slowest thing that an emulated Python does.
write_python() {
    local script=$1
    rm -f "$script"
    cat >"$script" <<EOF_PYTHON
#!/usr/bin/env bash
unset PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
export PYTHONNOUSERSITE=1 QEMU_LD_PREFIX=$root QEMU_CPU=\${QEMU_CPU:-$cpu}
ulimit -c 0
exec $qemu -0 "\$0" $root/usr/bin/$python "\$@"
EOF_PYTHON
    chmod +x "$script"
    rm -f "$root/usr/lib/$python/sitecustomize.py"
    cat >"$root/usr/lib/$python/sitecustomize.py" <<EOF_SITE
import builtins
import sys

_open = builtins.open


def open(file, *arguments, **options):
    return _open("$root/usr/bin/$python" if file == sys.executable else file, *arguments, **options)


builtins.open = open
EOF_SITE
}

# Compiling under emulation is slow; this machine's Python does it where it is of the same minor version.
compile() {
    "$python" -c '' 2>/dev/null || return 0
    "$python" -m compileall -q -x '/(test|tests|idlelib|lib2to3)/' "$@" >/dev/null 2>&1 || true
}

build() {
    check_tools
    get_emulator
    if [ -e "$root/usr/bin/python3.ready" ]; then
        write_python "$root/usr/bin/python3"
        return 0
    fi
    say "fetching Debian $suite for $architecture"
    local partial=$root.partial
    rm -rf "$root" "$partial"
    apt_fetch "$suite" "$architecture" "$partial/apt" --download-only install "${packages[@]}"
    mkdir "$partial/root"
    unpack "$partial/root" "$partial/apt/cache/archives"
    # Here pip puts what it installs, as on a device; Python looks there only where the folder exists.
    mkdir -p "$partial/root/usr/local/lib/$python/dist-packages"
    mv "$partial/root" "$root"
    rm -rf "$partial"
    write_python "$root/usr/bin/python3"
    compile "$root/usr/lib/$python" "$root/usr/lib/python3"
    "$root/usr/bin/python3" -c 'import ctypes, ssl, zlib' || fail "$target: its Python does not start"
    touch "$root/usr/bin/python3.ready"
    say "ready: $(du -sh "$root" | cut -f1)"
}

pip_in_target() {
    local wheels=("$home"/pip-*.whl)
    if [ ! -e "${wheels[0]}" ]; then
        "${PYTHON:-python3}" -m pip download --quiet --no-deps --dest "$home" pip || fail "pip cannot be fetched"
        wheels=("$home"/pip-*.whl)
    fi
    "$root/usr/bin/python3" "${wheels[0]}/pip" "$@" || fail "pip $*: failed on $target"
    compile "$root/usr/local/lib/$python"
}

case $command in
build) build; echo "$root/usr/bin/python3" ;;
python) build; exec "$root/usr/bin/python3" "$@" ;;
pip) build; pip_in_target "$@" ;;
remove) rm -rf "$root" "$root.partial" ;;
*) usage >&2; exit 2 ;;
esac
