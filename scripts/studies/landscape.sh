#!/bin/sh
# What the landscape wing says of plain and residual networks, at the scale of a laptop (scikit-learn's digits): numbers
# with intervals, the line from a small-batch to a large-batch solution, trajectories, maps of curvature, spectra.
#
#     sh scripts/studies/landscape.sh [FOLDER]
#
# FOLDER is build/landscape by default. An hour or two on two cores. Interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/landscape}
mkdir -p "$out"
train() { name=$1; shift; python scripts/train.py "$out/$name.pt" --data digits --epochs 30 --seed 0 "$@"; }
measure() { script=$1; shift; mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$@"; }
draw() { name=$1; shift; python scripts/figure.py "$out/$name.pdf" "$@"; }

# Which numbers separate plain from residual beyond their intervals?
for depth in 20 56; do
    for net in plain resnet; do
        name=$net-$depth
        train "$name" --network $net --depth $depth --width 16 --snapshots "$out/run-$name"
        measure surface "$out/$name.pt" "$out/surface-$name.h5" --x -1 1 21 --y -1 1 21 --repeats 5 --seed 0
        measure sharpness "$out/$name.pt" "$out/sharpness-$name.h5" --rho 0.01 0.02 0.05 --trials 5 --steps 10 --seed 0
    done
    python scripts/compare.py "$out/surface-plain-$depth.h5" "$out/surface-resnet-$depth.h5" \
        "$out/sharpness-plain-$depth.h5" "$out/sharpness-resnet-$depth.h5" \
        --csv "$out/compare-$depth.csv" --latex "$out/compare-$depth.tex" >"$out/compare-$depth.txt"
    draw surfaces-$depth "$out/surface-plain-$depth.h5" "$out/surface-resnet-$depth.h5"
done

# From a small-batch to a large-batch solution: what is the barrier, and what BatchNorm's statistics?
train small --network resnet --depth 20 --batch-size 32
train large --network resnet --depth 20 --batch-size 1024
for batchnorm in frozen recalibrated; do
    measure surface "$out/small.pt" "$out/line-$batchnorm.h5" --to "$out/large.pt" --x -0.5 1.5 81 \
        --batchnorm $batchnorm --split both
done
draw interpolation "$out/line-frozen.h5" "$out/line-recalibrated.h5" --titles "frozen BatchNorm" "recalibrated BatchNorm"

# The paths of two trainings, in the plane of their principal components and off it
for net in plain resnet; do
    measure trajectory "$out/$net-56.pt" "$out/path-$net-56.h5" --snapshots "$out/run-$net-56"
done
along() { name=$1; shift; measure surface "$out/$name.pt" "$out/plane-$name.h5" --along "$out/path-$name.directions.pt" "$@"; }
along plain-56 --x -50 260 31 --y -150 160 31
along resnet-56 --x -3 16 31 --y -10 8 31
draw trajectories "$out/path-plain-56.h5" "$out/plane-plain-56.h5" "$out/path-resnet-56.h5" "$out/plane-resnet-56.h5"

# Where the picture looks convex, what does the Hessian say?
for net in plain resnet; do
    measure curvature "$out/$net-56.pt" "$out/curvature-$net-56.h5" --x -1 1 11 --y -1 1 11 --seed 0 --examples 100
done
draw curvature "$out/curvature-plain-56.h5" "$out/curvature-resnet-56.h5"
