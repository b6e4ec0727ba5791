#!/bin/sh
# Every kind of figure, as PNG, from the results files in results/ and a few small ones measured here.
#
#     sh scripts/studies/gallery.sh [FOLDER]
#
# FOLDER is build/gallery by default. Some minutes on two cores. Interrupted, it goes on where it stopped. The
# pictures of pages need playwright and an installed Chromium, and are left out without them.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/gallery}
mkdir -p "$out"
export OMP_NUM_THREADS=1
measure() { script=$1; shift; mpiexec -n "${RANKS:-2}" python -m mpi4py "scripts/$script.py" "$@"; }
draw() { name=$1; shift; python scripts/figure.py "$out/$name.png" "$@" --dpi 130; }
surfaces=results/landscape lesions=results/ensemble

for net in plain resnet; do
    python scripts/train.py "$out/$net.pt" --network $net --depth 20 --data digits --epochs 30 --seed 0
    measure surface "$out/$net.pt" "$out/line-$net.h5" --x -1 1 41 --repeats 5
    measure surface "$out/$net.pt" "$out/plane-$net.h5" --x -1 1 31 --y -1 1 31
    measure curvature "$out/$net.pt" "$out/density-$net.h5" --density 3 --examples 200 --steps 60
    python scripts/curvature.py "$out/$net.pt" "$out/eigenvalues-$net.h5" --top 10 --precision 0.01 --examples 200
    python scripts/train.py "$out/$net-26.pt" --network $net --depth 26 --width 8 --epochs 15 --snapshots "$out/$net-26"
    measure critical "$out/$net-26.pt" "$out/critical-$net.h5" --snapshots "$out/$net-26" --examples 300
    measure basin "$out/$net-26.pt" "$out/basin-$net.h5" --radius 0 0.6 13 --directions 40 --examples 300
done
for seed in 0 1; do
    python scripts/train.py "$out/wide-$seed.pt" --network resnet --depth 8 --width 32 --epochs 15 --seed $seed
done
between="--x 0 1 21 --to $out/wide-1.pt --examples 500 --batchnorm recalibrated"
measure surface "$out/wide-0.pt" "$out/between.h5" $between
measure surface "$out/wide-0.pt" "$out/aligned.h5" $between --align activations
measure surface "$out/resnet.pt" "$out/space.h5" --x -1 1 15 --y -1 1 15 --z -1 1 3
measure surface "$out/resnet.pt" "$out/finite.h5" --x -40 40 21 --y -40 40 21 --normalize none --examples 300
measure lesion "$out/resnet.pt" "$out/gates.h5" --gate stages.0.1 stages.1.1 --alpha -0.5 1.5 21
for what in "repeat 1" parallel; do
    measure lesion "$out/resnet.pt" "$out/${what%% *}.h5" --$what
done
measure lesion "$out/resnet.pt" "$out/mean.h5" --delete 1 --replace mean
measure stream "$out/stream.h5" plain resnet resnet:order=pre resnet:join=scale,order=pre --depth 20 --width 8 \
    --seeds 2 --epochs 8 --batches 2 --batch-size 64 --data digits
measure stream "$out/stream-mixing.h5" resnet:order=pre,shortcut=hyper resnet:order=pre,shortcut=mhc --depth 20 --width 8 \
    --seeds 2 --epochs 8 --batches 2 --batch-size 64 --data digits
measure stream "$out/stream-transformer.h5" transformer transformer:join=scale --depth 4 --width 32 \
    --seeds 2 --epochs 1 --examples 400 --batches 2 --batch-size 32 --data stdlib --window 32

# Surfaces
draw planes "$out/plane-plain.h5" "$out/plane-resnet.h5"
draw planes-linear "$out/plane-plain.h5" "$out/plane-resnet.h5" --linear --vmax 5 --cmap cividis --only contours
draw reliefs "$out/plane-plain.h5" "$out/plane-resnet.h5" --only reliefs --view 50 -70 \
    --titles "without shortcuts" "with shortcuts"
draw one-plane "$out/plane-resnet.h5" --width icml-wide
draw far "$out/finite.h5"
draw lines "$out/line-plain.h5" "$out/line-resnet.h5" --width icml
draw repeats $surfaces/surface-plain-56.h5 $surfaces/surface-resnet-56.h5
draw topology results/study/surface-plain-110-0.h5 results/study/surface-resnet-110-0.h5 --show topology
draw space "$out/space.h5"
draw gates "$out/gates.h5"
draw interpolation $surfaces/line-frozen.h5 $surfaces/line-recalibrated.h5 --titles frozen recalibrated
draw alignment "$out/between.h5" "$out/aligned.h5"
draw trajectories $surfaces/path-plain-56.h5 $surfaces/plane-plain-56.h5 $surfaces/path-resnet-56.h5 $surfaces/plane-resnet-56.h5

# A film of two trainings
python scripts/figure.py "$out/film.gif" $surfaces/path-plain-56.h5 $surfaces/plane-plain-56.h5 $surfaces/path-resnet-56.h5 \
    $surfaces/plane-resnet-56.h5 --dpi 110 --fps 4

# The Hessian, and sharpness
draw sharpness $surfaces/sharpness-plain-20.h5 $surfaces/sharpness-resnet-20.h5 $surfaces/sharpness-plain-56.h5 \
    $surfaces/sharpness-resnet-56.h5
draw curvature $surfaces/curvature-plain-56.h5 $surfaces/curvature-resnet-56.h5
draw critical "$out/critical-plain.h5" "$out/critical-resnet.h5"
draw basins "$out/basin-plain.h5" "$out/basin-resnet.h5"
draw densities "$out/density-plain.h5" "$out/density-resnet.h5"
draw eigenvalues "$out/eigenvalues-plain.h5" "$out/eigenvalues-resnet.h5"

# Lesions
draw single $lesions/single-resnet-110-0.h5 $lesions/single-vgg-16-0.h5 \
    --titles "ResNet-110, pre-activation" "VGG, 15 layers"
draw kinds "$out/mean.h5" "$out/repeat.h5" "$out/parallel.h5"
draw many $lesions/random-resnet-110-0.h5 $lesions/swaps-resnet-110-0.h5 \
    --titles "ResNet-110, pre-activation" "ResNet-110, pre-activation"
draw depth $lesions/single-resnet-*.h5 --by-depth
draw interactions $lesions/pairs-resnet-20-0.h5 $lesions/pairs-resnet-56-0.h5 \
    --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation"
draw network $lesions/pairs-resnet-20-0.h5 $lesions/pairs-resnet-56-0.h5 --show network \
    --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation"
draw shapley $lesions/shapley-resnet-20-0.h5 $lesions/single-resnet-20-0.h5 \
    --titles "ResNet-20, pre-activation" "ResNet-20, pre-activation"
draw redundancy $lesions/redundancy-resnet-20-0.h5 $lesions/redundancy-resnet-56-0.h5 \
    --titles "ResNet-20, pre-activation" "ResNet-56, pre-activation"

# Paths, gradients, and other claims
draw paths $lesions/paths-resnet-56-0.h5 --titles "ResNet-56, pre-activation"
draw surviving $lesions/paths-resnet-56-0.h5 $lesions/random-resnet-56-0.h5 --titles "ResNet-56, pre-activation"
draw flow-gradient results/study/flow-new.h5 --show gradient
for show in cosine residual; do
    draw flow-$show results/study/flow-trained.h5 --show $show
done
draw stream "$out/stream.h5"
draw stream-effect "$out/stream.h5" --show effect
draw stream-mixing "$out/stream-mixing.h5" --show forward_mixing
draw stream-transformer "$out/stream-transformer.h5"
draw identity $lesions/identity.h5
draw reuse $lesions/reuse.h5
draw degradation results/training/degradation.h5
draw shortcuts results/training/shortcuts-56.h5

# Pages to explore
python scripts/figure.py "$out/page-surfaces.html" "$out/plane-plain.h5" "$out/plane-resnet.h5"
python scripts/figure.py "$out/page-trajectory.html" $surfaces/plane-resnet-56.h5 $surfaces/path-resnet-56.h5
python scripts/figure.py "$out/page-lines.html" "$out/line-plain.h5" "$out/line-resnet.h5"
python scripts/figure.py "$out/page-lesions.html" $lesions/single-resnet-20-0.h5 $lesions/pairs-resnet-20-0.h5 $lesions/random-resnet-20-0.h5 \
    --titles "ResNet-20, pre-activation" "ResNet-20, pre-activation" "ResNet-20, pre-activation"
if python -c "import playwright" 2>/dev/null && command -v chromium >/dev/null; then
    python scripts/development/photograph.py "$out"/page-*.html --size 1000 700
fi
