#!/bin/sh
# Is a residual network an ensemble of paths? The questions of Veit et al. 2016 at the scale of a laptop (scikit-learn's
# digits): lesions of networks of 3 to 54 blocks, three trainings each; what blocks are worth and whether they act alone;
# gradients by path length; gradients through depth; the identity; what a DenseNet uses again.
#
#     sh scripts/studies/ensemble.sh [FOLDER]
#
# FOLDER is build/ensemble by default. An hour or two on two cores. Interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/ensemble}
mkdir -p "$out"
export OMP_NUM_THREADS=1
train() { name=$1; shift; python scripts/train.py "$out/$name.pt" --data digits --epochs 30 "$@"; }
measure() { script=$1; shift; mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$@"; }
lesion() { net=$1; name=$2; shift 2; measure lesion "$out/$net.pt" "$out/$name.h5" "$@"; }
draw() { name=$1; shift; python scripts/figure.py "$out/$name.pdf" "$@"; }

# Trainings, one a core: pre-activation as published; stochastic depth; only paths of 23 of 54 blocks; a plain control
for seed in 0 1 2; do
    (
        for depth in 8 14 20 32 44 56 110; do
            train resnet-$depth-$seed --network resnet --depth $depth --argument order=pre --seed $seed --quiet
        done
        for depth in 20 56 110; do
            train stochastic-$depth-$seed --network resnet --depth $depth --argument order=pre survival=0.5 \
                --seed $seed --quiet
        done
        train keep-110-$seed --network resnet --depth 110 --argument order=pre keep=23 --seed $seed --quiet
        train vgg-16-$seed --network vgg --depth 16 --width 16 --argument constant=True --seed $seed --quiet
    ) &
done
wait

# One block at a time: does resilience grow with depth? (their Figure 3; §4.1)
for net in "$out"/resnet-*.pt "$out"/stochastic-*.pt "$out"/keep-*.pt "$out"/vgg-*.pt; do
    net=$(basename "$net" .pt)
    lesion "$net" "single-$net" --delete 1
done
draw single "$out/single-resnet-110-0.h5" "$out/single-vgg-16-0.h5" --titles "ResNet-110, pre-activation" "VGG, 15 layers"
set -- "$out"/single-resnet-*.h5 "$out"/single-stochastic-*.h5 "$out"/single-keep-*.h5 "$out"/single-vgg-*.h5
titles=
for file; do
    case $file in
        */single-resnet-*) title="ResNet, pre-activation" ;;
        */single-stochastic-*) title="stochastic depth" ;;
        */single-keep-*) title="23 of 54 blocks a batch" ;;
        *) title="VGG" ;;
    esac
    titles="$titles '$title'"
done
eval "draw depth \"\$@\" --by-depth --width 5.5 --titles $titles"

# Many blocks at random, and blocks that trade places (their Figure 5)
lesion resnet-20-0 random-resnet-20-0 --delete 1 9 --trials 50
for net in resnet-56-0 resnet-110-0 stochastic-110-0; do
    lesion $net "random-$net" --delete 1 20 --trials 50
done
lesion resnet-110-0 swaps-resnet-110-0 --swap 1 20 --trials 20
lesion resnet-110-0 repeats-resnet-110-0 --repeat 1 10 --trials 20
draw many "$out/random-resnet-110-0.h5" "$out/swaps-resnet-110-0.h5" \
    --titles "ResNet-110, pre-activation" "ResNet-110, pre-activation"
draw random "$out"/random-resnet-20-0.h5 "$out"/random-resnet-56-0.h5 "$out"/random-resnet-110-0.h5 \
    "$out"/random-stochastic-110-0.h5 --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation" "ResNet-110, pre-activation" \
    "ResNet-110, stochastic depth"

# What is each block worth, and do blocks act alone?
for depth in 20 56; do
    lesion resnet-$depth-0 pairs-resnet-$depth-0 --delete 1 2 | tee "$out/pairs-$depth.txt"
    lesion resnet-$depth-0 shapley-resnet-$depth-0 --shapley 4000 --precision 0.01 | tee "$out/shapley-$depth.txt"
done
draw pairs "$out/pairs-resnet-20-0.h5" "$out/pairs-resnet-56-0.h5" \
    --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation"
draw shapley "$out/shapley-resnet-20-0.h5" "$out/single-resnet-20-0.h5" \
    --titles "ResNet-20, pre-activation" "ResNet-20, pre-activation"

# Would the activations alone have told?
for depth in 20 56; do
    measure redundancy "$out/resnet-$depth-0.pt" "$out/redundancy-resnet-$depth-0.h5" | tee "$out/redundancy-$depth.txt"
done
draw redundancy "$out/redundancy-resnet-20-0.h5" "$out/redundancy-resnet-56-0.h5" \
    --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation"

# Gradients by the length of paths, and which paths survive (their Figure 6)
measure paths "$out/resnet-56-0.pt" "$out/paths-resnet-56-0.h5" --examples 32 --draws 1000
draw paths "$out/paths-resnet-56-0.h5" --titles "ResNet-56, pre-activation"
draw surviving "$out/paths-resnet-56-0.h5" "$out/random-resnet-56-0.h5" --titles "ResNet-56, pre-activation"

# Gradients from block to block, at initialisation and trained
measure flow "$out/flow.h5" plain resnet resnet:order=pre resnet:join=channel-gate plain:norm=none resnet:norm=none \
    --data digits --depth 20 56 110 --seeds 2 --epochs 15
for show in gradient cosine residual; do
    draw "flow-$show" "$out/flow.h5" --show $show
done

# How hard is it to do nothing, and what does a DenseNet use again?
measure identity "$out/identity.h5"
draw identity "$out/identity.h5"
train densenet --network densenet --depth 40 --seed 0
python scripts/reuse.py "$out/densenet.pt" "$out/reuse.h5"
draw reuse "$out/reuse.h5"
