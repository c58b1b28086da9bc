#!/bin/sh
# Trains the bundled model from nothing: scripts/train/train.sh [WORK] [PYTHON]
# WORK keeps logs, the token cache and checkpoints. Running it again continues an interrupted U-Net training.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-"$root/.train"}
python=${2:-python3}
mkdir -p "$work"
cd "$here"

# One thread a process: threads that share two cores with other work wait for each other in every operation.
export OMP_NUM_THREADS=1
# glibc otherwise maps and unmaps every activation anew.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592

"$python" heldout.py
[ -f "$work/vqgan/model.safetensors" ] || { "$python" vqgan_train.py "$work" 500; "$python" vqgan_train.py "$work" 800 resume; }
[ -f "$work/text_encoder/model.safetensors" ] || "$python" text_train.py "$work" 1000
"$python" unet_train.py "$work" --steps "${STEPS:-6000}" --resume
"$python" check.py "$work" --count 300
"$python" export.py "$work" "$root/models/tiny"
mkdir -p "$root/docs/models"
cp "$work/log.jsonl" "$root/docs/models/tiny-training.jsonl"
"$python" plot.py "$work/log.jsonl" "$root/docs/models/tiny-training.png"
