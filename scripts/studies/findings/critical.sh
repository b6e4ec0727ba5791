#!/bin/sh
# Critical sharpness over trainings with and without shortcuts, of three seeds each: networks and one file each go to
# FOLDER, what they have in common and the figure to results/findings. Half an hour on one core; interrupted, it goes on.
#
#     sh scripts/studies/findings/critical.sh [FOLDER]
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-build/findings/critical}
mkdir -p "$out"
for seed in 0 1 2; do
    for net in plain resnet; do
        name="$out/$net-26-$seed"
        python scripts/train.py "$name.pt" --network $net --depth 26 --width 8 --epochs 15 --seed $seed --threads 1 \
            --snapshots "$name" --quiet
        python scripts/critical.py "$name.pt" "$name.h5" --snapshots "$name" --examples 300 --seed 0 --quiet
    done
done
