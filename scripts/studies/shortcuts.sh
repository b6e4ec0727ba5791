#!/bin/sh
# Which networks can be trained: depth, and what the shortcuts are made of (He et al. 2016, 1603.05027, tables 1 and 2), at
# the scale of a laptop: scikit-learn's digits, three seeds. A quarter of an hour on two quiet cores.
# Interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/../.."
out=results/training
train="mpiexec -n ${RANKS:-2} python -m mpi4py scripts/trainings.py"
mkdir -p $out

$train $out/degradation.h5 plain resnet --depth 8 20 32 56 --seeds 3
$train $out/shortcuts-56.h5 \
    resnet plain \
    'resnet:join=scale,scales=(0.5,0.5)' 'resnet:join=scale,scales=(0.5,1)' \
    resnet:join=exclusive-gate,gate_bias=0 resnet:join=exclusive-gate,gate_bias=-6 \
    resnet:join=shortcut-gate,gate_bias=0 resnet:join=shortcut-gate,gate_bias=-6 \
    resnet:join=channel-gate,gate_bias=0 resnet:join=channel-gate,gate_bias=-6 \
    resnet:shortcut=projection-everywhere resnet:join=dropout \
    resnet:order=bn-after-add resnet:order=relu-before-add resnet:order=relu-only-pre resnet:order=pre \
    --depth 56 --seeds 3
$train $out/pooled-gate-56.h5 resnet:join=pooled-gate,gate_bias=0 resnet:join=pooled-gate,gate_bias=-6 --depth 56 --seeds 3

for name in degradation shortcuts-56 pooled-gate-56; do
    python scripts/figure.py $out/$name.pdf $out/$name.h5
done
