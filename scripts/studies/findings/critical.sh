#!/bin/sh
# Critical sharpness over trainings with and without shortcuts, of three seeds each, and slices at equal loss: networks
# and a file of each go to FOLDER, what they have in common and the figure to results/findings. Half an hour on one
# core; interrupted, it goes on where it stopped.
#
#     sh scripts/studies/findings/critical.sh [FOLDER]
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-build/findings/critical}
mkdir -p "$out" results/findings
for seed in 0 1 2; do
    for net in plain resnet; do
        name="$out/$net-26-$seed"
        python scripts/train.py "$name.pt" --network $net --depth 26 --width 8 --epochs 15 --seed $seed --threads 1 \
            --snapshots "$name" --quiet
        python scripts/critical.py "$name.pt" "$name.h5" --snapshots "$name" --examples 300 --seed 0 --quiet
        # The slice is that of the checkpoint whose loss is nearest to 0.3.
        near=$(python scripts/studies/findings/critical.py near "$name.h5")
        python scripts/surface.py "$name/$near.pt" "$out/slice-$net-$seed.h5" --split train --examples 300 --seed 0 \
            --x -1 1 11 --y -1 1 11 --repeats 3 --quiet
    done
done
python scripts/studies/findings/critical.py draw "$out" results/findings/critical.h5 results/findings/critical.png
