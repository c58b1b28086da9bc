#!/bin/sh
# Trains the bundled model from nothing: scripts/train/train.sh [WORK] [PYTHON]
# WORK keeps logs, the token cache and checkpoints; running it again goes on where it was interrupted.
# For a trial: VQGAN_STEPS (eleven rounds), TEXT_STEPS, SCENES, UNET_STEPS, and MODEL and CURVES, where the results go.
# START=<model folder> begins with that folder's VQGAN, text encoder and U-Net instead of nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${2:-python3}
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac }
work=$(absolute "${1:-"$root/.train"}")
model=$(absolute "${MODEL:-"$root/models/tiny"}")
curves=$(absolute "${CURVES:-"$root/docs/models/tiny-training"}")
start=${START:+$(absolute "$START")}
mkdir -p "$work"
cd "$here"

# One thread a process: threads that share two cores with other work wait for each other in every operation.
export OMP_NUM_THREADS=1
# glibc otherwise maps and unmaps every activation anew.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592

if [ -n "$start" ] && [ ! -d "$work/vqgan" ]; then
  cp -r "$start/text_encoder" "$start/vqgan" "$work"
fi
"$python" heldout.py
if [ ! -f "$work/vqgan/model.safetensors" ]; then
  "$python" vqgan_train.py "$work" --steps "${VQGAN_STEPS:-5000,1500,6000,4000,3000,6000,8000,6000,4000,5000,8000}" &
  vqgan=$!
fi
[ -f "$work/text_encoder/model.safetensors" ] || "$python" text_train.py "$work" --steps "${TEXT_STEPS:-4000}"
[ -z "${vqgan:-}" ] || wait "$vqgan"
"$python" cache.py "$work" --scenes "${SCENES:-60000}"
"$python" unet_train.py "$work" --steps "${UNET_STEPS:-26000}" --scenes "${SCENES:-60000}" --resume ${start:+--start "$start"}
"$python" export.py "$work" "$model" --dtype F16
mkdir -p "$(dirname "$curves")"
[ -f "$work/log.jsonl" ] || exit 0 # a trial too short for a curve
cp "$work/log.jsonl" "$curves.jsonl"
"$python" plot.py "$work/log.jsonl" "$curves.png"
