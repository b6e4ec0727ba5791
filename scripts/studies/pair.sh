#!/bin/sh
# Is the landscape around a deep plain network jagged? One plain and one residual network of 56 layers, trained to the
# end by the recipe of Li et al. 2018, and every point of their surfaces measured: none is interpolated, and all are of
# the same images, so that what is rough is the surface. Then what else the study asks, of networks that fit their data.
#
#     sh scripts/studies/pair.sh DATA [FOLDER]
#
# DATA is whatever train.py --data takes: cifar10, a folder, an .npz file. FOLDER is build/pair by default. Both are
# relative to the project's own folder. On two cores some three hours of training and five of measuring; minutes of each
# on a GPU. Interrupted, it goes on where it stopped.
set -eu
data=${1:?which data? cifar10, a folder, an .npz file}
cd "$(dirname "$0")/../.."
out=${2:-build/pair}
depth=${DEPTH:-56} epochs=${EPOCHS:-60} points=${POINTS:-51} examples=${EXAMPLES:-256}
mkdir -p "$out"
export OMP_NUM_THREADS=1
measure() {
    script=$1 net=$2 name=$3
    shift 3
    mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$out/$net.pt" "$out/$name.h5" --data "$data" "$@"
}
surface() { # NETWORK NAME HALF-WIDTH IMAGES …
    net=$1 name=$2 half=$3 images=$4
    shift 4
    measure surface "$net" "surface-$name" --x "-$half" "$half" "$points" --y "-$half" "$half" "$points" --seed 0 \
        --examples "$images" --batch-size 128 --dtype auto "$@"
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

# 2. Surfaces of the same images everywhere: three planes at two ranges; lines in fine steps, and coarse ones of eight times
# as many images, which tell whether so few are enough; planes after a tenth and three tenths of the training; and with
# statistics of BatchNorm that follow the weights
line() { # NETWORK NAME POINTS IMAGES …
    net=$1 name=$2 count=$3 images=$4
    shift 4
    measure surface "$net" "line-$name" --x -1 1 "$count" --seed 0 --examples "$images" --batch-size 128 --dtype auto "$@"
}
for net in plain resnet; do
    surface $net $net 1 "$examples" --repeats 3
    line $net $net $((4 * points - 3)) "$examples" --repeats 3
    line $net $net-many "$points" $((examples * 8)) --repeats 3
    surface $net $net-near 0.2 "$examples" --repeats 3
done
for net in plain-10 resnet-10 plain-30 resnet-30; do
    surface $net $net 1 "$examples"
done
for net in plain resnet; do
    surface $net $net-batch 1 "$examples" --batchnorm batch
    surface $net $net-recalibrated 1 "$examples" --batchnorm recalibrated --calibration "$examples"
done

sh scripts/studies/pair_figures.sh "$out"

# 3. What else is claimed of such a pair, each by its own criterion; and how the gradient goes through both
python scripts/claim.py shortcuts-let-deep-networks-train shortcuts-smooth-the-surface shortcuts-leave-no-deep-minima \
    shortcuts-make-solutions-less-sharp convex-slices-hide-little-curvature most-directions-are-spared-and-the-worst-is-not \
    one-block-can-go changes-of-resolution-matter-most blocks-can-run-twice blocks-act-alone \
    error-grows-smoothly-with-deletions error-grows-smoothly-with-disorder blocks-go-downhill gradients-come-by-short-paths \
    sampled-paths-measure-the-gradient --out "$out/claims" --scale "${SCALE:-cifar10}" --seeds 1 --data "$data" \
    --checkpoint plain="$out/plain.pt" residual="$out/resnet.pt" --ranks "${RANKS:-2}" --markdown "$out/claims.md"
mpiexec -n "${RANKS:-2}" python -m mpi4py scripts/flow.py "$out/flow.h5" --data "$data" \
    --checkpoints "$out/plain.pt" "$out/resnet.pt"
