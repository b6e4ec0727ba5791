"""Quiet is quiet: nothing but errors is printed, by command and by call."""

import pytest
import torch
from measured import lesions, surface

from landscape.networks import build


@pytest.mark.slow
def test_a_call_prints_nothing_and_logs_what_it_does(tmp_path, capfd, caplog):
    torch.manual_seed(0)
    network = build("resnet", depth=8, width=2, channels=1, classes=2).eval()
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(0, 2, (8,)))]
    for _ in range(2):
        surface(network, batches, tmp_path / "a.h5", x=(-1, 1, 3), quiet=True)
        lesions(network, batches, tmp_path / "b.h5", delete=[1], quiet=True)
    assert capfd.readouterr() == ("", "")
    with caplog.at_level("INFO", logger="skipscape"):
        surface(network, batches, tmp_path / "a.h5", x=(-1, 1, 3), quiet=True)
    assert "complete already" in caplog.text and capfd.readouterr().out == ""
