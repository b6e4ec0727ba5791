#!/bin/sh
# The figures and numbers of the study, from its results files alone: no network, no data, a minute or two. What is not
# measured yet is left out.
#
#     sh scripts/studies/study_figures.sh [FOLDER]
#
# FOLDER, results/study by default, is what scripts/studies/study.sh has filled.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-results/study}
there() { # whether all files among the words are there
    for word; do
        case $word in *.h5) [ -e "$word" ] || return 1 ;; esac
    done
}
draw() {
    name=$1
    shift
    there "$@" || { echo "$name: not measured yet" && return; }
    python scripts/figure.py "$out/$name.png" "$@" --dpi 120
}
f() { for name; do printf '%s ' "$out/$name.h5"; done; } # a list of files of the study

# Degradation
draw degradation $(f degradation) --titles plain ResNet "ResNet, pre-activation"

# Surfaces on a common scale, curvature, numbers with intervals
draw surfaces-20 $(f surface-plain-20-0 surface-resnet-20-0)
draw surfaces-110 $(f surface-plain-110-0 surface-resnet-110-0)
draw surfaces-others $(f surface-densenet-40-0 surface-vgg-16-0) --only contours \
    --titles DenseNet-40-12 "VGG, 15 layers"
files=$(f surface-densenet-40-0 surface-vgg-16-0)
there $files && python scripts/compare.py $files >"$out/compare-surfaces-others.txt"
draw repeats $(f repeats-plain-56-0 repeats-resnet-56-0)
draw curvature $(f curvature-plain-20-0 curvature-resnet-20-0)
draw sharpness $(f sharpness-plain-20-0 sharpness-resnet-20-0)
draw trajectory $(f path path-plane)
for depth in 20 56 110; do
    files=$(f surface-plain-$depth-0 surface-resnet-$depth-0)
    there $files && python scripts/compare.py $files >"$out/compare-surfaces-$depth.txt"
    files=$(f repeats-plain-$depth-0 repeats-resnet-$depth-0)
    more=$(f sharpness-plain-$depth-0 sharpness-resnet-$depth-0 curvature-plain-$depth-0 curvature-resnet-$depth-0)
    there $more && files="$files $more"
    there $files || continue
    python scripts/compare.py $files --csv "$out/compare-$depth.csv" --latex "$out/compare-$depth.tex" >"$out/compare-$depth.txt"
done

# Small against large batches
draw interpolation $(f interpolation interpolation-no-decay) --titles "weight decay 5e-4" "no weight decay"
for decay in "" -no-decay; do
    draw lines$decay $(f line-small$decay line-large$decay) --titles "batch 128" "batch 8192"
    files=$(f line-small$decay line-large$decay)
    there $files && python scripts/compare.py $files >"$out/compare-batches$decay.txt"
done

# Lesions
draw single $(f single-preact-56-0 single-vgg-16-0) --titles "ResNet-56, pre-activation" "VGG, 15 layers"
draw depth $(f single-resnet-20-0 single-resnet-20-1 single-resnet-20-2 single-resnet-56-0 single-resnet-110-0 \
    single-preact-56-0 single-preact-110-0 single-stochastic-56-0 single-vgg-16-0) --by-depth --width 5.5 --titles \
    ResNet ResNet ResNet ResNet ResNet "ResNet, pre-activation" "ResNet, pre-activation" "stochastic depth" VGG
draw many-56 $(f random-preact-56-0 swaps-preact-56-0 applied-twice-preact-56-0) \
    --titles "ResNet-56, pre-activation" "ResNet-56, pre-activation" "ResNet-56, pre-activation"
draw many-110 $(f random-preact-110-0 swaps-preact-110-0 applied-twice-preact-110-0) \
    --titles "ResNet-110, pre-activation" "ResNet-110, pre-activation" "ResNet-110, pre-activation"
draw random $(f random-preact-56-0 random-preact-110-0) --titles "ResNet-56, pre-activation" "ResNet-110, pre-activation"
draw pairs $(f pairs-preact-56-0) --titles "ResNet-56, pre-activation"
draw shapley $(f shapley-resnet-20-0 shapley-preact-56-0 single-resnet-20-0 single-preact-56-0) \
    --titles ResNet-20 "ResNet-56, pre-activation" ResNet-20 "ResNet-56, pre-activation"

# Gradients
draw paths $(f paths-preact-56-0) --titles "ResNet-56, pre-activation"
draw surviving $(f paths-preact-56-0 random-preact-56-0) --titles "ResNet-56, pre-activation"
for when in new trained; do
    draw flow-$when $(f flow-$when)
done
draw flow-cosine $(f flow-trained) --show cosine

python scripts/studies/study_numbers.py "$out" >"$out/numbers.md"
