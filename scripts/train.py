#!/usr/bin/env python3
"""Train a network and save it as a checkpoint that describes itself.

    python scripts/train.py resnet.pt --network resnet --depth 56 --data digits --epochs 30 --seed 0
    python scripts/train.py text.pt --network transformer --depth 4 --data stdlib --window 128 --examples 8000

Killed and started again, it goes on from the last saved epoch; finished, it does nothing. A copy of a snapshot as
OUT.pt goes on too, without its momentum.
"""

import argparse
from argparse import BooleanOptionalAction
from pathlib import Path

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import device_option, input_options
from landscape.engine.ranks import Communicator
from landscape.training.loop import RECIPES
from landscape.training.train import train


def parser() -> Parser:
    p = Parser(prog="train.py", description=__doc__)
    p.add_argument("out", metavar="OUT.pt", type=Path, help="the checkpoint to write")
    g = p.add_argument_group("network")
    g.add_argument(
        "--network", default="resnet", help="resnet, plain, densenet, vgg, transformer, vit, or package.module:factory"
    )
    g.add_argument("--depth", type=int, help="number of weight layers; of a transformer or vit, number of layers")
    g.add_argument(
        "--width", type=int, help="channels of the first stage; of a transformer or vit, width of the stream"
    )
    g.add_argument(
        "--argument",
        dest="arguments",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="further arguments to build the network with",
    )
    g = p.add_argument_group("data")
    g.add_argument(
        "--data",
        default="digits",
        help="digits, cifar10, cifar100, fashionmnist, stdlib, a folder, an .npz file, or package.module:function",
    )
    g.add_argument("--root", type=Path, help="folder of torchvision's data sets")
    g.add_argument("--size", type=int, help="side length in pixels to which images of a folder are resized")
    g.add_argument("--window", type=int, metavar="T", help="tokens per example of text (default: 256)")
    input_options(g, training=True)
    g.add_argument("--download", action="store_true", help="let torchvision download missing data")
    g.add_argument(
        "--examples",
        type=int,
        help="number of training examples, a stratified subset that depends on the seed; "
        "of text, a tenth as many are tested",
    )
    g.add_argument(
        "--augment",
        action=BooleanOptionalAction,
        help="pad, crop and mirror images at random; off by default for digits",
    )
    g = p.add_argument_group("training")
    g.add_argument(
        "--recipe",
        choices=RECIPES,
        help="schedule, optimizer, learning rate and weight decay (default: fast; for text: text; for a vit: patches)",
    )
    g.add_argument("--epochs", type=int, help="passes over the training data; by default those of the recipe")
    g.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed of the initial weights, the order of examples and the augmentation",
    )
    g.add_argument(
        "--optimizer", choices=["sgd", "adamw"], help="by default that of the recipe: sgd; adamw for text and a vit"
    )
    g.add_argument("--learning-rate", type=float, help="by default that of the recipe")
    g.add_argument("--weight-decay", type=float, help="by default that of the recipe")
    g.add_argument("--batch-size", type=int, default=128, help="examples per step")
    g.add_argument(
        "--micro-batch",
        type=int,
        default=512,
        help="examples per forward pass; gradients of larger batches are accumulated",
    )
    g.add_argument("--warm-up", type=int, default=0, help="number of first batches at a tenth of the learning rate")
    g.add_argument("--bfloat16", action="store_true", help="compute in mixed precision")
    g.add_argument("--compile", action="store_true", help="use torch.compile; worthwhile for trainings of many minutes")
    g.add_argument(
        "--record",
        action="store_true",
        help="on a GPU, record a step once and replay it: a small network trains several times as fast. Not for a "
        "network of your own that decides in Python, batch by batch, what to run",
    )
    g.add_argument(
        "--snapshots",
        type=Path,
        metavar="FOLDER",
        help="also save a checkpoint of the initial weights and after every epoch",
    )
    device_option(p)
    p.add_argument(
        "--threads",
        type=int,
        help="number of threads on a processor, on which the last bits of the weights depend (default: its cores, or "
        "OMP_NUM_THREADS)",
    )
    p.add_argument(
        "--save-every",
        type=float,
        default=10,
        help="seconds between saves; a kill loses what came since, Ctrl-C and SIGTERM only the epoch under way",
    )
    p.add_argument("--quiet", action="store_true", help="print only errors")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    train(**chosen(arguments, train))


if __name__ == "__main__":
    run(main, parser())
