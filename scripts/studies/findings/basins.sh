#!/bin/sh
# How far most directions can be followed before the error rises by five points, by depth, with and without shortcuts:
# certified radii of three trainings each on scikit-learn's digits. Networks and a file of each go to FOLDER, the radii
# and the figure to results/findings. Ten minutes on two cores; interrupted, it goes on where it stopped.
#
#     sh scripts/studies/findings/basins.sh [FOLDER]
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-build/findings/basins}
mkdir -p "$out" results/findings
export OMP_NUM_THREADS=1
for seed in 0 1 2; do
    for net in plain resnet; do
        for depth in 8 20 44; do
            name="$out/$net-$depth-$seed"
            python scripts/train.py "$name.pt" --network $net --depth $depth --width 8 --data digits --epochs 15 \
                --seed $seed --threads 1 --quiet
            mpiexec -n "${RANKS:-2}" python -m mpi4py scripts/basin.py "$name.pt" "$name.h5" --radius 0 0.6 25 \
                --directions 60 --level +5% --examples 300 --seed 0 --quiet
        done
    done
done
python scripts/studies/findings/basins.py "$out" results/findings/basins
