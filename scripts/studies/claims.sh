#!/bin/sh
# Every claim tried on scikit-learn's digits and on the sources of Python: what is trained and measured goes to
# build/claims, verdicts, their table and their figure to results/claims. Half an hour on two cores; interrupted, it
# goes on where it stopped.
#
#     sh scripts/studies/claims.sh [FOLDER [RESULTS]]
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/claims}
to=${2:-results/claims}
mkdir -p "$out" "$to"
python scripts/claim.py all --out "$out" --ranks "${RANKS:-2}" --markdown "$to/claims.md"
cp "$out"/*.h5 "$to"
python scripts/figure.py "$to/verdicts.png" "$to"/*.h5 --width 6 --dpi 150
