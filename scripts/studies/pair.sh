#!/bin/sh
# Is the landscape around a deep plain network jagged? One plain and one residual network of 56 layers, trained to the
# end by the recipe of Li et al. 2018, and every point of their surfaces measured: none is interpolated, and all are of
# the same images, so that what is rough is the surface. Then what else the study asks, of networks that fit their data.
#
#     sh scripts/studies/pair.sh DATA [FOLDER]
#
# DATA is whatever train.py --data takes: cifar10, a folder, an .npz file. FOLDER is build/pair by default. Both are
# relative to the project's own folder. On two cores three hours of training and three of measuring; minutes of each on
# a GPU. Interrupted, it goes on where it stopped.
set -eu
data=${1:?which data? cifar10, a folder, an .npz file}
cd "$(dirname "$0")/../.."
out=${2:-build/pair}
depth=${DEPTH:-56} epochs=${EPOCHS:-60} points=${POINTS:-51} examples=${EXAMPLES:-512}
mkdir -p "$out"
export OMP_NUM_THREADS=1
measure() {
    script=$1 net=$2 name=$3
    shift 3
    mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$out/$net.pt" "$out/$name.h5" --data "$data" "$@"
}
surface() { # NETWORK NAME HALF-WIDTH …
    net=$1 name=$2 half=$3
    shift 3
    measure surface "$net" "surface-$name" --x "-$half" "$half" "$points" --y "-$half" "$half" "$points" --seed 0 \
        --examples "$examples" --batch-size 128 --dtype auto "$@"
}

# 1. Both networks, side by side. What is kept has weights of 16 bits, and it is these that are measured.
for net in plain resnet; do
    python scripts/train.py "$out/run-$net.pt" --data "$data" --standardize --network $net --depth "$depth" --recipe li \
        --epochs "$epochs" --seed 0 --bfloat16 --threads 1 --snapshots "$out/run-$net" --save-every 60 &
done
wait
keep() { [ -e "$out/$2.pt" ] || python scripts/convert.py "$out/$1.pt" "$out/$2.pt" --half; }
for net in plain resnet; do
    keep run-$net $net
    keep run-$net/$(printf 'epoch-%04d' $((epochs / 10))) $net-10
    keep run-$net/$(printf 'epoch-%04d' $((epochs * 3 / 10))) $net-30
done

# 2. Surfaces: three planes at two ranges; then after a tenth and three tenths of the training; then with statistics of
# BatchNorm that follow the weights
for net in plain resnet; do
    surface $net $net 1 --repeats 3
    surface $net $net-near 0.2 --repeats 3
done
for net in plain-10 resnet-10 plain-30 resnet-30; do
    surface $net $net 1
done
for batchnorm in recalibrated batch; do
    for net in plain resnet; do
        surface $net $net-$batchnorm 1 --batchnorm $batchnorm
    done
done

# 3. The rest of the study
for net in plain resnet; do
    measure lesion $net lesion-$net --split test --delete 1 --dtype auto
    measure sharpness $net sharpness-$net --rho 0.01 0.02 0.05 --trials 5 --steps 10 --examples 1000
    measure critical $net critical-$net --examples 1000 --lambda-max
    measure basin $net basin-$net --radius 0 1 21 --examples 1000
    measure curvature $net curvature-$net --x -1 1 5 --y -1 1 5 --examples 100 --precision 0.01
done
measure paths resnet paths-resnet --examples 32 --draws 200
[ -e "$out/flow.h5" ] || mpiexec -n "${RANKS:-2}" python -m mpi4py scripts/flow.py "$out/flow.h5" --data "$data" \
    --checkpoints "$out/plain.pt" "$out/resnet.pt"
