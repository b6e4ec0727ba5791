"""Networks that are not to be larger than what there is for them: weights in a file, or memory."""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

from landscape.errors import BadInput
from landscape.memory import guard_memory

__all__ = ["MOST", "TooLarge", "at_most"]

MOST = 50_000  # parameters of a network that is built by its name alone
SMALL = 2**26  # numbers of which no question is asked


class TooLarge(BadInput):
    """A network has more parameters than it may have."""


@contextlib.contextmanager
def at_most(tensors: int, numbers: int | None = None) -> Iterator[None]:
    """Stop whoever builds a network, for the length of a ``with``, when it has more parameters than these.

    They are counted as modules get them, which is before their initialisation: until then the system gives them an
    address and no memory. So a network of any depth and width is refused at once.

    Parameters
    ----------
    tensors : how many parameters
    numbers : how many numbers in them; by default as many as the memory holds

    Raises
    ------
    TooLarge
        It has more.
    BadInput
        It has more than the memory holds.
    """
    made, total = 0, 0

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal made, total
        if parameter is None or is_lazy(parameter):  # which gets its shape from the first input
            return
        made, total = made + 1, total + parameter.numel()
        if made > tensors or (numbers is not None and total > numbers):
            raise TooLarge(f"the network has more than {tensors:,} tensors or {numbers or 2**63:,} numbers; take fewer")
        if total > SMALL:
            guard_memory(parameter.element_size() * total, "the network")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except RuntimeError as error:  # of a single parameter, before it can be counted
        if "can't allocate memory" in str(error) or "overflow" in str(error):
            raise TooLarge("the network has a layer that no memory holds; make it smaller") from error
        raise
    finally:
        handle.remove()
