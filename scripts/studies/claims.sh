#!/bin/sh
# Every claim tried on scikit-learn's digits and on the sources of Python: what is trained, measured and judged goes to
# build/claims, the table and the figure of the verdicts, and two of their files, to results/claims. Twenty minutes on
# two cores; interrupted, it goes on where it stopped.
#
#     sh scripts/studies/claims.sh [FOLDER [RESULTS]]
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/claims}
to=${2:-results/claims}
mkdir -p "$out" "$to"
python scripts/claim.py all --out "$out" --ranks "${RANKS:-2}" --markdown "$to/claims.md"
python scripts/figure.py "$to/verdicts.png" "$out"/*.h5 --width 6 --dpi 100
for name in one-block-can-go shortcuts-smooth-the-surface; do
    cp "$out/$name.h5" "$to"
done
