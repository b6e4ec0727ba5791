#!/bin/sh
# Figures and numbers of the pair of 56 layers, from its results files alone: no network, no data, a minute. What is not
# measured yet is left out.
#
#     sh scripts/studies/pair_figures.sh [FOLDER]
#
# FOLDER, results/pair by default, is what scripts/studies/pair.sh has filled.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-results/pair}
both() { # NAME KIND END …: two networks' files of one kind, compared in compare-NAME.txt and drawn as surfaces-NAME.png
    name=$1 plain="$out/$2-plain$3.h5" resnet="$out/$2-resnet$3.h5"
    shift 3
    [ -e "$plain" ] && [ -e "$resnet" ] || { echo "$name: not measured yet" && return; }
    [ "$#" = 0 ] || python scripts/figure.py "$out/surfaces-$name.png" "$plain" "$resnet" --dpi 100 "$@"
    python scripts/compare.py "$plain" "$resnet" >"$out/compare-$name.txt"
}

# One pair of directions each, as published figures have it; the numbers are of all
both wide surface "" --repeat 0
both near surface -near --repeat 0 --only contours
both line line "" # of lines the numbers alone
both many line -many

# While it is trained, and with statistics of BatchNorm that follow the weights
for when in 10 30; do
    both $when surface -$when --only contours
done
for statistics in batch recalibrated; do
    both $statistics surface -$statistics --only contours
done
