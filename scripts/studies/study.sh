#!/bin/sh
# Plain against skip on CIFAR-10: the claims of He et al. 2016, Veit et al. 2016 and Li et al. 2018, measured by the
# commands of this package. The numbers go to results files; scripts/studies/study_figures.sh draws and tells them.
#
#     sh scripts/studies/study.sh DATA [FOLDER]
#
# DATA is whatever train.py --data takes: cifar10, a folder, an .npz file. FOLDER is build/study by default. Both are
# relative to the project's own folder. Some hours on two cores once the networks are trained. Training takes minutes
# each on a GPU (RECORD=--record), and hours on two cores. Interrupted, it goes on where it stopped.
set -eu
data=${1:?which data? cifar10, a folder, an .npz file}
cd "$(dirname "$0")/../.."
out=${2:-build/study}
mkdir -p "$out"
export OMP_NUM_THREADS=1
quick="--tolerance 0.02 --dtype auto"

# Each command's seconds of processor time, of itself and of what it started, are in compute.txt. One that has ended is
# not started again; to measure anew, remove its .done.
timed() {
    name=$1
    shift
    [ ! -e "$out/.$name.done" ] || return 0
    ("$@" && times >"$out/.times")
    : >"$out/.$name.done"
    printf '%s\t%s\n' "$name" "$(tail -n 1 "$out/.times")" >>"$out/compute.txt"
}
train() {
    name=$1
    shift
    timed "$name" python scripts/train.py "$out/$name.pt" --data "$data" --standardize --epochs "${EPOCHS:-10}" --bfloat16 "$@"
}
measure() {
    script=$1 net=$2 name=$3
    shift 3
    timed "$name" mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$out/$net.pt" "$out/$name.h5" \
        --data "$data" "$@"
}

# 1. Networks
for seed in 0 1 2; do
    train resnet-20-$seed --network resnet --depth 20 --seed $seed --snapshots "$out/run-resnet-20-$seed" ${RECORD:-}
    train plain-20-$seed --network plain --depth 20 --seed $seed ${RECORD:-}
done
for depth in 56 110; do
    train resnet-$depth-0 --network resnet --depth $depth ${RECORD:-}
    train plain-$depth-0 --network plain --depth $depth ${RECORD:-}
    train preact-$depth-0 --network resnet --depth $depth --argument order=pre ${RECORD:-}
done
train stochastic-56-0 --network resnet --depth 56 --argument order=pre survival=0.5 # draws its blocks: nothing to record
train densenet-40-0 --network densenet --depth 40 ${RECORD:-}
train vgg-16-0 --network vgg --depth 16 --width 64 --argument constant=true ${RECORD:-}
large="--batch-size 8192 --micro-batch ${MICRO_BATCH:-8192} --learning-rate 0.4 --epochs $((4 * ${EPOCHS:-10}))"
train vgg-9-small --network vgg --depth 9 --width 32 ${RECORD:-}
train vgg-9-large --network vgg --depth 9 --width 32 $large ${RECORD:-}
train vgg-9-small-no-decay --network vgg --depth 9 --width 32 --weight-decay 0 ${RECORD:-}
train vgg-9-large-no-decay --network vgg --depth 9 --width 32 --weight-decay 0 $large ${RECORD:-}

told() { [ -e "$out/$1.h5" ] || (cd "$out" && python "$OLDPWD/scripts/trainings.py" "$1.h5" --checkpoints $2); }
told degradation "$(cd "$out" && ls plain-*.pt resnet-*.pt preact-*.pt)"
told trained "$(cd "$out" && ls plain-*.pt resnet-*.pt preact-*.pt stochastic-*.pt densenet-*.pt vgg-16-*.pt)"

# 2. Lesions of one block: every one, over all test images (Veit et al. 2016 §4.1)
for net in resnet-20-0 resnet-20-1 resnet-20-2 plain-20-0 resnet-56-0 preact-56-0 stochastic-56-0 vgg-16-0; do
    measure lesion $net single-$net --delete 1 --dtype auto
done

# 3. Surfaces (Li et al. 2018 §5)
for net in resnet-20-0 plain-20-0 resnet-56-0 plain-56-0; do
    measure surface $net surface-$net --x -1 1 51 --y -1 1 51 $quick --adaptive
done
for net in resnet-20-0 plain-20-0 resnet-56-0 plain-56-0; do
    measure surface $net repeats-$net --x -1 1 13 --y -1 1 13 --repeats 5 $quick
done

# 4. From a small-batch to a large-batch solution, and around each (Li et al. 2018 §3–4)
for decay in "" -no-decay; do
    measure surface vgg-9-small$decay interpolation$decay --to "$out/vgg-9-large$decay.pt" --x -0.5 1.5 41 \
        --split both $quick
    for batch in small large; do
        measure surface vgg-9-$batch$decay line-$batch$decay --x -1 1 21 --repeats 5 $quick
    done
done

# 5. The path of a training (Li et al. 2018 §7)
measure trajectory resnet-20-0 path --snapshots "$out/run-resnet-20-0" --examples 5000
measure trajectory resnet-20-0 path-recalibrated --snapshots "$out/run-resnet-20-0" --examples 5000 \
    --batchnorm recalibrated
[ -e "$out/path.range" ] || python - "$out/path.h5" >"$out/path.range" <<'END'
import sys
import numpy as np
from landscape.engine.table import read
path = read(sys.argv[1])
for axis, name in (("x", "alpha"), ("y", "beta")):  # a third more than the path itself
    low, high = path[name].min(), path[name].max()
    print(f"--{axis} {low - (high - low) / 3:.3g} {high + (high - low) / 3:.3g} 31", end=" ")
END
measure surface resnet-20-0 path-plane --along "$out/path.directions.pt" $(cat "$out/path.range") $quick --adaptive

# 6. Curvature and sharpness (Li et al. 2018 §6; Foret et al. 2021)
for net in resnet-20-0 plain-20-0; do
    measure sharpness $net sharpness-$net --rho 0.01 0.02 0.05 --trials 5 --steps 10 --examples 1000
    measure curvature $net curvature-$net --x -1 1 9 --y -1 1 9 --examples 100 --precision 0.01
done

# 7. Many blocks at random, pairs, orders, what each is worth (Veit et al. 2016 §4.2–4.3)
measure lesion preact-56-0 random-preact-56-0 --delete 1 20 --trials 20 --examples 2000 --dtype auto
measure lesion preact-56-0 pairs-preact-56-0 --delete 1 2 --examples 2000 --dtype auto
measure lesion resnet-20-0 shapley-resnet-20-0 --shapley 1000 --precision 0.01 --examples 1000 --dtype auto
measure lesion preact-56-0 shapley-preact-56-0 --shapley 100 --examples 500 --dtype auto
measure lesion preact-56-0 swaps-preact-56-0 --swap 1 10 --trials 20 --examples 1000 --dtype auto
measure lesion preact-56-0 applied-twice-preact-56-0 --repeat 1 10 --trials 10 --examples 1000 --dtype auto

# 8. Gradients: by path length (Veit et al. 2016 §5), and from block to block, new and trained
measure paths preact-56-0 paths-preact-56-0 --examples 32 --draws 200
timed flow-new mpiexec -n "${RANKS:-2}" python -m mpi4py scripts/flow.py "$out/flow-new.h5" \
    plain resnet resnet:order=pre --depth 20 56 110 --seeds 3 --data "$data" --standardize

# 9. What takes longest: 110 layers, and a DenseNet
for net in resnet-110-0 preact-110-0; do
    measure lesion $net single-$net --delete 1 --examples 5000 --dtype auto
done
measure lesion preact-110-0 random-preact-110-0 --delete 1 20 --trials 10 --examples 1000 --dtype auto
measure lesion preact-110-0 swaps-preact-110-0 --swap 1 20 --trials 10 --examples 1000 --dtype auto
measure lesion preact-110-0 applied-twice-preact-110-0 --repeat 1 10 --trials 5 --examples 1000 --dtype auto
for net in preact-56-0 vgg-16-0 densenet-40-0 resnet-110-0 plain-110-0; do
    measure surface $net surface-$net --x -1 1 51 --y -1 1 51 $quick --adaptive
done
timed flow-trained mpiexec -n "${RANKS:-2}" python -m mpi4py scripts/flow.py "$out/flow-trained.h5" --data "$data" \
    --checkpoints "$out"/plain-20-0.pt "$out"/resnet-20-0.pt "$out"/plain-56-0.pt "$out"/resnet-56-0.pt \
    "$out"/preact-56-0.pt "$out"/plain-110-0.pt "$out"/resnet-110-0.pt "$out"/preact-110-0.pt
