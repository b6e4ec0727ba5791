#!/bin/sh
# By how many blocks the gradient comes with one stream, and with four that are mixed: exact path spectra of three
# trainings each on scikit-learn's digits. Some minutes on two cores. Interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/../../.."
out=results/findings
networks=build/findings
mkdir -p $out $networks

for shortcut in zero-pad hyper mhc; do
    for seed in 0 1 2; do
        name=paths-of-streams-$shortcut-$seed
        python scripts/train.py $networks/$name.pt --network resnet --depth 26 --width 8 --data digits --epochs 15 \
            --seed $seed --argument order=pre shortcut=$shortcut --quiet
        python scripts/paths.py $networks/$name.pt $networks/$name.h5 --image --examples 32 --draws 2 --quiet
    done
done
python scripts/studies/findings/paths_of_streams.py $networks $out/paths-of-streams
