"""Hyper-connections: n streams around each branch, which reads a weighted sum of them and adds to each; they are mixed.

Of a block F, with the streams X = (x₁, …, xₙ) for rows (Zhu et al. 2024, 2409.19606 §2.1),

    X ← M X + w F(rᵀ X),

with r (n), what is read, M (n, n), the mixing, and w (n), what is written. Their A_m is r, their A_r is Mᵀ, their B
is w. Before the first block all streams are the same; behind the last one the network goes on with their mean. They
take the sum, which is the same to a norm that comes next. With the mean the network equals, at initialisation and
whatever comes next, the ordinary residual network with its weights: block k then reads stream k mod n, M is the
identity, and w is 1 (their §2.3). They also draw the last weights of branches larger by √n, which is not done here.

    "hyper"  r, M and w are parameters, and may be anything
    "mhc"    manifold-constrained (Xie et al. 2025, 2512.24880 §4.1, 4.2): r = σ(·), w = 2σ(·), and M is doubly
             stochastic, with entries ≥ 0 and rows and columns summing to 1, as is then the product of several

Dynamic, they depend on the streams: to the parameters is added a small map of them, position by position in tokens, and
of the mean over positions in images, whose mixing would else be of another resolution than what it mixes.

    "hyper"  r + s·tanh(X̂ W), and M and w alike, from each stream's own row of X̂, its LayerNorm (2409.19606 §2.2)
    "mhc"    σ(r + s·W x̂), and M and w alike, from all streams in one vector x̂ with the RMS 1 (2512.24880 §4.2)

W starts at 0 and s, of which there is one for each of r, M and w, at 0.01. The norms have no weights of their own.

Conventions: the streams of images are (N, n, C, H, W), those of tokens (N, n, T, C), so that examples come first. A
block whose output has another shape than its input leads each of its streams through the same shortcut, zero-padding,
and mixes what comes out.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

__all__ = [
    "HYPER",
    "Connections",
    "Copies",
    "Each",
    "Mean",
    "StreamMix",
    "StreamRead",
    "StreamWrite",
    "Through",
    "sinkhorn",
    "with_rms_1",
]

HYPER = ("hyper", "mhc")
ITERATIONS = 20  # of Sinkhorn and Knopp, as Xie et al. have (2512.24880 §4.2)
LEAST = 1e-6  # of what is missing in sums, below which it is not worth dividing by it
# With nothing but equal streams, equal weights would stay equal. So each block starts as a reader of one stream, and a
# stream as what it is, but for this part: a sigmoid and an exponential are never 0 or 1. Ours; they do not say.
SPREAD = 0.1


class Connections(NamedTuple):
    """What the connections of a network have in common.

    Attributes
    ----------
    kind : one of `HYPER`
    streams : how many
    dynamic : whether they depend on the streams
    images : whether streams are of images, else of tokens
    """

    kind: str
    streams: int
    dynamic: bool = False
    images: bool = True

    def before(self) -> nn.Module:
        """What makes streams of what the stem gives."""
        return Copies(self.streams)

    def behind(self, width: int) -> nn.Module:
        """What makes one of them, for the head."""
        return Mean()

    def after(self, module: nn.Module) -> nn.Module:
        """What comes after the join."""
        return Each(module) if self.images else module

    def around(
        self, branch: nn.Module, shortcut: nn.Module, inputs: int, outputs: int, number: int
    ) -> tuple[nn.Module, nn.Module]:
        """Branch and shortcut of a block, which has n streams for its input and its output.

        Parameters
        ----------
        branch, shortcut : of one stream
        inputs, outputs : channels of a stream
        number : of the block, which reads stream number mod n at first (2409.19606 §2.3)
        """
        read, write = StreamRead(self, inputs, number), StreamWrite(self, inputs)
        return Through(read, branch, write), StreamMix(self, inputs, shortcut)


class _Numbers(nn.Module):
    """One of r, M and w, (n) or (n, n); dynamic, one for each example, (N, …), or for each token, (N, T, …)."""

    def __init__(self, connections: Connections, width: int, start: Tensor):
        super().__init__()
        n = connections.streams
        self.kind, _, self.dynamic, self.images = connections
        self.square = start.ndim == 2
        self.lead = ("n" if self.images else "nt") if self.dynamic else ""  # axes in front of those of the streams
        self.weight = nn.Parameter(start)
        if self.dynamic:
            inputs, outputs = (n * width, n) if self.kind == "mhc" else (width, 1)
            # Without drawing anything, so that a seed gives the network the weights that it has with other shortcuts
            self.map = skip_init(nn.Linear, inputs, outputs * (n if self.square else 1), bias=False)
            nn.init.zeros_(self.map.weight)
            self.scale = nn.Parameter(torch.tensor(0.01))

    def unbounded(self, x: Tensor) -> Tensor:
        """The numbers before a sigmoid or the like, given the streams."""
        if not self.dynamic:
            return self.weight
        seen = x.flatten(3).mean(-1) if self.images else x.transpose(1, 2)  # (N, n, C), or (N, T, n, C)
        if self.kind == "mhc":
            more = self.map(with_rms_1(seen.flatten(-2)))
            more = more.unflatten(-1, self.weight.shape) if self.square else more
        else:
            more = torch.tanh(self.map(with_rms_1(seen - seen.mean(-1, keepdim=True))))
            more = more.transpose(-1, -2) if self.square else more.squeeze(-1)
        return self.weight + self.scale * more

    def extra_repr(self) -> str:
        return f"{self.kind}{', dynamic' if self.dynamic else ''}"


class StreamRead(_Numbers):
    """rᵀ X: what a branch gets of the streams, (N, n, …) -> (N, …)."""

    def __init__(self, connections: Connections, width: int, number: int):
        n = connections.streams
        own = torch.eye(n)[number % n]
        start = _nearly(own).logit() if connections.kind == "mhc" else own
        super().__init__(connections, width, start)
        self.terms = n

    def numbers(self, x: Tensor) -> Tensor:
        """r."""
        r = self.unbounded(x)
        return torch.sigmoid(r) if self.kind == "mhc" else r

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum(f"{self.lead}i,ni{_rest(self.lead)}->n{_rest(self.lead)}", self.numbers(x), x)


class StreamWrite(_Numbers):
    """w F: what a branch adds to each stream, (N, …) and the streams, (N, n, …), that it was made from -> (N, n, …)."""

    def __init__(self, connections: Connections, width: int):
        n = connections.streams
        super().__init__(connections, width, torch.zeros(n) if connections.kind == "mhc" else torch.ones(n))
        self.terms = 1

    def numbers(self, x: Tensor) -> Tensor:
        """w."""
        w = self.unbounded(x)
        return 2 * torch.sigmoid(w) if self.kind == "mhc" else w

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return torch.einsum(f"{self.lead}i,n{_rest(self.lead)}->ni{_rest(self.lead)}", self.numbers(x), branch)


class StreamMix(_Numbers):
    """M X: the way around a branch, on which each stream goes through the same shortcut and all are mixed."""

    def __init__(self, connections: Connections, width: int, shortcut: nn.Module):
        own = torch.eye(connections.streams)
        super().__init__(connections, width, _nearly(own).log() if connections.kind == "mhc" else own)
        self.shortcut = Each(shortcut)
        self.terms = connections.streams

    def numbers(self, x: Tensor) -> Tensor:
        """M, of which row i says what stream i gets."""
        m = self.unbounded(x)
        return sinkhorn(m) if self.kind == "mhc" else m

    def forward(self, x: Tensor) -> Tensor:
        carried, rest = self.shortcut(x), _rest(self.lead)
        return torch.einsum(f"{self.lead}ij,nj{rest}->ni{rest}", self.numbers(x), carried)


class Through(nn.Module):
    """A branch between streams: reads them, and gives what it adds to each, (N, n, …) -> (N, n, …)."""

    def __init__(self, read: StreamRead, branch: nn.Module, write: StreamWrite):
        super().__init__()
        self.read = read
        self.branch = branch
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        return self.write(self.branch(self.read(x)), x)


class Each(nn.Module):
    """A module of one stream on each of several, as if these were examples: (N, n, …) -> (N, n, …)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.flatten(0, 1)).unflatten(0, (-1, x.shape[1]))


class Copies(nn.Module):
    """One stream as several, (N, …) -> (N, n, …)."""

    def __init__(self, streams: int):
        super().__init__()
        self.streams = streams

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x] * self.streams, dim=1)


class Mean(nn.Module):
    """The mean of several streams, (N, n, …) -> (N, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def sinkhorn(numbers: Tensor) -> Tensor:
    """A doubly stochastic matrix, (…, n, n) -> (…, n, n), differentiable (Sinkhorn & Knopp 1967).

    From e to the numbers on, columns and rows are divided by their sums in turn, 20 times (2512.24880 §4.2). What
    is then missing may be some per cent where the matrix is close to the identity; it is added by the last step of
    Altschuler et al. 2017 (1705.09634, algorithm 2), after which rows and columns sum to 1 but for rounding. That step
    is not in 2512.24880.
    """
    for _ in range(ITERATIONS):
        numbers = numbers.log_softmax(-2).log_softmax(-1)  # of logarithms, so that nothing becomes 0 that others need
    matrix = numbers.exp()
    for axis in (-1, -2):
        matrix = matrix / matrix.sum(axis, keepdim=True).clamp(min=1)
    rows, columns = ((1 - matrix.sum(axis, keepdim=True)).clamp(min=0) for axis in (-1, -2))
    return matrix + rows * columns / rows.sum(-2, keepdim=True).clamp(min=LEAST)


def _nearly(ones: Tensor) -> Tensor:
    """0 and 1, of which each row has one, as numbers in between with the same sum."""
    n = ones.shape[-1]
    return (1 - SPREAD) * ones + SPREAD / max(1, n - 1) * (1 - ones)


def with_rms_1(x: Tensor) -> Tensor:
    """Vectors along the last axis, divided by their root mean square."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def _rest(lead: str) -> str:
    """The axes behind that of the streams, as `torch.einsum` has them."""
    return "t..." if "t" in lead else "..."
