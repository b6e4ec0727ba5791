"""Whether a network, data and a loss go together: found out on two examples, before hours are spent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.data import Data
from landscape.errors import BadInput
from landscape.measure import LOSSES, evaluating, loss_named

__all__ = ["check_fit"]


def check_fit(
    title: str, network: nn.Module, data: Data, loss: str = "cross_entropy", device: torch.device | str = "cpu"
) -> None:
    """Refuse what does not fit.

    Parameters
    ----------
    title : what the network is called
    network : on `device`
    data : Data
    loss : its name, see `landscape.measure.loss_named`

    Raises
    ------
    BadInput
        The network does not take the images, has no row of outputs for each or too few of them, or the
        loss does not give one number for each example.
    """
    images, targets = data.images[:2].to(device), data.labels[:2].to(device)
    n = len(images)
    with torch.no_grad(), evaluating(network):
        try:
            outputs = network(images)
        except (RuntimeError, ValueError, AssertionError) as error:  # what networks say of a shape they do not take
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise BadInput(
                f"{title} does not take images of shape {tuple(images.shape[1:])}: {reason}; "
                "give the data that it was made for"
            ) from error
        if not (isinstance(outputs, Tensor) and outputs.ndim >= 2 and len(outputs) == n):
            raise BadInput(f"{title} gives {_shape(outputs)} for {n} images; it must give a row of outputs for each")
        if loss in LOSSES and outputs.shape[1] < data.classes:
            raise BadInput(
                f"{title} has {outputs.shape[1]} outputs, {data.name} {data.classes} classes; "
                "give the data that it was made for"
            )
        each = loss_named(loss)(outputs, targets)
    if not (isinstance(each, Tensor) and each.shape == (n,)):
        raise BadInput(f"the loss {loss} gives {_shape(each)} for {n} examples; it must give a number for each")


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
