#!/bin/sh
# The layers of a language model trained from nothing: each deleted, swapped with its neighbour, and scored.
#
#     sh scripts/studies/language.sh [FOLDER]
#
# FOLDER is results/language by default; the network goes to build/language. Some fifteen minutes of one core.
# Interrupted, it goes on where it stopped.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-results/language}
net=${NET:-build/language/net.pt}
mkdir -p "$out" build/language
export OMP_NUM_THREADS=1
measure() { script=$1; shift; python "scripts/$script.py" "$net" "$@" --split test --examples "${EXAMPLES:-64}"; }
both="--metric agreement kl"

python scripts/train.py "$net" --network transformer --depth 8 --width 128 --data stdlib --window 128 \
    --examples "${TRAINED:-4400}" --epochs 2 --batch-size 16
measure lesion "$out/parts.h5" --delete 1 $both
measure lesion "$out/layers.h5" --delete 1 --layers $both
measure lesion "$out/neighbours.h5" --reverse 2 --layers $both
measure redundancy "$out/redundancy-parts.h5" | tee "$out/redundancy-parts.txt"
measure redundancy "$out/redundancy-layers.h5" --layers | tee "$out/redundancy-layers.txt"

python scripts/studies/language_numbers.py "$out" > "$out/numbers.md"

python scripts/figure.py "$out/parts-perplexity.png" "$out/parts.h5" --variable perplexity --dpi 150
python scripts/figure.py "$out/parts-agreement.png" "$out/parts.h5" --variable agreement --dpi 150
python scripts/figure.py "$out/layers-perplexity.png" "$out/layers.h5" "$out/neighbours.h5" --variable perplexity --dpi 150
python scripts/figure.py "$out/layers-agreement.png" "$out/layers.h5" "$out/neighbours.h5" --variable agreement --dpi 150
python scripts/figure.py "$out/redundancy.png" "$out/redundancy-parts.h5" "$out/redundancy-layers.h5" \
    --titles parts layers --dpi 150
