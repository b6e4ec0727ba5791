#!/bin/sh
# From nothing to the two figures of the README, on scikit-learn's digits: make demo.
# Every step is a command that can be typed by hand; interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/.."
out=results/demo
ranks="mpiexec -n ${RANKS:-2} python -m mpi4py"
mkdir -p $out

for network in plain resnet; do
    python scripts/train.py $out/$network.pt --network $network --depth 56 --width 16 --data digits --epochs 30 --seed 0
done
for network in plain resnet; do
    $ranks scripts/surface.py $out/$network.pt $out/surface-$network.h5 --x -1 1 25 --y -1 1 25 --seed 0 --split train
done
for network in plain resnet; do
    $ranks scripts/lesion.py $out/$network.pt $out/lesion-$network-single.h5 --delete 1
done
$ranks scripts/lesion.py $out/resnet.pt $out/lesion-resnet-random.h5 --delete 1 10 --trials 30 --seed 0

for kind in pdf png; do
    python scripts/figure.py $out/surfaces.$kind $out/surface-plain.h5 $out/surface-resnet.h5
    python scripts/figure.py $out/lesions.$kind $out/lesion-resnet-single.h5 $out/lesion-plain-single.h5 \
        $out/lesion-resnet-random.h5
done

echo
python scripts/compare.py $out/surface-plain.h5 $out/surface-resnet.h5 \
    $out/lesion-plain-single.h5 $out/lesion-resnet-single.h5
echo
for figure in surfaces lesions; do
    echo "$out/$figure.pdf $out/$figure.png"
done
echo "$out/*.h5: the numbers, for xarray.open_dataset(path, engine=\"h5netcdf\")"
