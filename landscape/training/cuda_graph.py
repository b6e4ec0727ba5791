"""A training step recorded once on a GPU, and replayed for every batch.

A step of a small network is hundreds of kernels of a few microseconds each: the processor takes longer to
launch them than the GPU to run them. A CUDA graph launches all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["CudaGraphStep"]

Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class CudaGraphStep:
    """Forward, loss and backward of batches of one shape.

    What Python decides while the step is recorded is decided for good: a network that draws in Python which blocks
    to run cannot be recorded. Dropout can; its draws are the GPU's.

    Parameters
    ----------
    step : from (images, labels), computes the loss and its gradients and answers with tensors
    network : on a GPU; its parameters get the gradients, its buffers are as before the recording
    images, labels : a batch of the shape
    """

    def __init__(self, step: Step, network: nn.Module, images: Tensor, labels: Tensor):
        self.given = images.clone(), labels.clone()
        self.parameters = list(network.parameters())
        kept = [buffer.clone() for buffer in network.buffers()]
        # What libraries set up at their first calls must not be recorded, and not be done on the stream that records.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(*self.given)
                network.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.answer = step(*self.given)
        # Recorded without gradients there, the step writes new ones and adds to none.
        self.gradients = [parameter.grad for parameter in self.parameters]
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), kept, strict=True):
                buffer.copy_(before)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """The step's answer for a batch of the recorded shape; the parameters have its gradients."""
        for place, value in zip(self.given, (images, labels), strict=True):
            place.copy_(value)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return tuple(each.clone() for each in self.answer)
