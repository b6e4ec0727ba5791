#!/usr/bin/env python3
"""Delete residual blocks of a trained network and measure what is left (Veit et al. 2016).

    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt single.h5 --delete 1
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt random.h5 --delete 1 20 --trials 100 --seed 0
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt swaps.h5 --swap 1 10 --trials 100 --seed 0
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt pairs.h5 --delete 1 2
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt shapley.h5 --shapley 1000 --precision 0.01

The first deletes every block, one at a time; the second k = 1 … 20 blocks at random, 100 times each (or, where there
are no more sets of k blocks than that, each set once); the third lets blocks trade places; the fourth deletes all
pairs and says whether they act alone; the fifth what each block is worth, whichever others are there (Shapley
values). Blocks are also permuted, reversed, applied twice, run side by side, replaced by their mean output or by that
for another example, and multiplied by α, from 0 (deleted) to 1 (intact). Networks are ours, those of torchvision, timm
and Hugging Face, or any with --blocks.
Trial 0 is the intact network. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without mpiexec it runs on one process, with the same results to the bit.
"""

from ensemble.study import options
from ensemble.trials import lesions
from landscape.command import Parser, run
from landscape.imported import imported
from landscape.ranks import agreed
from landscape.subject import options as subject_options
from landscape.subject import subject


def parser() -> Parser:
    p = Parser(prog="lesion.py", description=__doc__)
    subject_options(p, split="test")
    options(p)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        described = imported(arguments.blocks) if arguments.blocks else None
        it = subject(arguments, comm)
    lesions(it, described, arguments, comm)


if __name__ == "__main__":
    run(main, parser())
