#!/usr/bin/env bash
# An emulated 64-bit ARM machine in the folder .emulator: Debian's arm64 Python and TVM's arm64 wheels under qemu.
# Needs Debian or Ubuntu and root (for the package lists of arm64 and for qemu). About 400 MB, a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$PWD/.emulator
[ -x "$place/python" ] && { echo "$place is there already"; exit 0; }
rm -rf "$place.part"
"${PYTHON:-python3.11}" -m venv "$place.part/venv"
python=$place.part/venv/bin/python
mkdir -p "$place.part/packages" "$place.part/wheels"
if ! apt-cache show libc6:arm64 >/dev/null 2>&1; then
    dpkg --add-architecture arm64
    apt-get update -qq
fi
command -v qemu-aarch64-static >/dev/null || apt-get install -y -qq qemu-user-static >/dev/null
(
    cd "$place.part/packages"
    packages=(
        python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libstdc++6 libgcc-s1 zlib1g
        libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libgomp1
    )
    apt-get download -qq "${packages[@]/%/:arm64}"
    for package in *.deb; do dpkg-deb -x "$package" ../root; done
)
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
    --platform manylinux2014_aarch64 --platform manylinux_2_24_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_28_aarch64 --dest "$place.part/wheels" \
    -c constraints.txt apache-tvm apache-tvm-ffi numpy typing_extensions ml_dtypes psutil cloudpickle
for wheel in "$place.part"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$place.part/site"; done
rm -rf "$place.part/packages" "$place.part/wheels" "$place.part/venv"
cat > "$place.part/python" <<'EOF'
#!/usr/bin/env bash
# The emulated machine's Python. It takes this file for itself, so that what starts more of it starts this again.
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONHOME=$here/root/usr PYTHONPATH=$here/site
exec qemu-aarch64-static -0 "$here/python" -L "$here/root" "$here/root/usr/bin/python3.11" "$@"
EOF
chmod +x "$place.part/python"
mv "$place.part" "$place"
"$place/python" -c \
    'import platform; from importlib.metadata import version; print(platform.machine(), "with TVM", version("apache-tvm"))'
