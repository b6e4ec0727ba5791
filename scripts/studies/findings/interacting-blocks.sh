#!/bin/sh
# Which blocks interact: all pairs of blocks deleted in a small language model and in a residual network of as many
# blocks, three trainings of each. The networks go to build/findings, the table and the figure of the language models to
# results/findings. Ten minutes of one core; interrupted, it goes on where it stopped.
#
#     sh scripts/studies/findings/interacting-blocks.sh [FOLDER]
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-results/findings}
nets=${NETS:-build/findings/interacting-blocks}
mkdir -p "$out" "$nets"
export OMP_NUM_THREADS=1
for seed in 0 1 2; do
    python scripts/train.py "$nets/language-$seed.pt" --network transformer --depth 6 --width 64 --data stdlib --window 64 \
        --examples 2000 --epochs 3 --batch-size 32 --seed $seed
    python scripts/train.py "$nets/residual-$seed.pt" --network resnet --depth 26 --width 8 --argument order=pre \
        --data digits --epochs 15 --seed $seed
    for kind in language residual; do
        python scripts/lesion.py "$nets/$kind-$seed.pt" "$nets/$kind-$seed.h5" --delete 1 2 --examples 400
    done
done
python scripts/figure.py "$out/interacting-blocks.png" "$nets"/language-?.h5 --show network --variable loss --dpi 85 \
    --titles "language model, seed 0" "seed 1" "seed 2"
python - "$nets" "$out/interacting-blocks.h5" <<'PYTHON'
import sys

import numpy as np
from scipy import stats

import skipscape as ss

nets, out = sys.argv[1:]
kinds, seeds, blocks = np.array(["language", "residual"], object), np.arange(3), np.arange(1, 13)
of = {(k, s): ss.interactions(ss.read(f"{nets}/{k}-{s}.h5"), loss=True) for k in kinds for s in seeds}
rows = np.argwhere(np.ones((2, 3, 12, 12)))


def numbers(rows):
    """On the diagonal of "interaction", the rise when that block alone is deleted."""
    for kind, s, i, j in rows.astype(int).tolist():
        known = of[kinds[kind], s]
        yield {"interaction": known.value[i, j], "interaction_se": known.se[i, j], "q": known.q[i, j]}


coordinates = {"network": kinds, "seed": seeds, "block": blocks, "other": blocks}
ss.run(numbers, rows, kind="interactions", dims=[*coordinates], coordinates=coordinates, out=out, quiet=True)
for k in kinds:
    share, busiest = [], []
    for s in seeds:
        upper = np.triu_indices(12, 1)
        share.append(100 * of[k, s].significant[upper].mean())
        size = np.abs(of[k, s].value)
        np.fill_diagonal(size, 0)
        busiest.append(100 * size.sum(axis=1).max() / size[upper].sum())
    for what, each in {"pairs that interact": share, "of all interaction, in pairs with one block": busiest}.items():
        half = stats.t.ppf(0.975, 2) * stats.sem(each)
        print(f"{k}: {np.mean(each):.0f} ± {half:.0f} % {what} ({', '.join(f'{x:.1f}' for x in each)})")
PYTHON
