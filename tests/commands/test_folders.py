"""A folder of transformers and a text, from the command line to a figure."""

import numpy as np
import pytest
import torch
from processes import command

from landscape.engine.results import read

pytest.importorskip("transformers")
from folders import TEXT, causal


def test_a_lesion_of_a_folder_on_a_text_is_what_transformers_gives_without_the_layer(tmp_path):
    network, tokenizer = causal(tmp_path / "my-gpt2", n_layer=3)
    (tmp_path / "fox.txt").write_text(TEXT, encoding="utf-8")
    said = ["--data", f"text:{tmp_path / 'fox.txt'}", "--window", 32, "--layers", "--metric", "agreement"]
    command("lesion", tmp_path / "my-gpt2", tmp_path / "l.h5", *said, "--delete", 1)
    tokens = tokenizer(TEXT, return_tensors="pt", add_special_tokens=False)["input_ids"][0]
    windows, layers = tokens[: len(tokens) // 32 * 32].view(-1, 32), list(network.transformer.h)
    expected = []
    for without in [None, 0, 1, 2]:
        network.transformer.h = torch.nn.ModuleList(each for k, each in enumerate(layers) if k != without)
        with torch.no_grad():  # windows are of one length, so that the mean over all is that over windows
            expected.append(network(input_ids=windows, labels=windows).loss.item())
    results = read(tmp_path / "l.h5")
    assert results["loss"].tolist() == pytest.approx(expected, rel=1e-6)
    assert results.network == "my-gpt2" and results.attributes["data"] == "fox.txt"
    assert results.attributes["split"] == "all" and np.isfinite(results["agreement"]).all()
    again = command("lesion", tmp_path / "my-gpt2", tmp_path / "l.h5", *said, "--delete", 1)
    assert "is complete already" in again.stdout
    command("figure", tmp_path / "l.pdf", tmp_path / "l.h5")
    assert (tmp_path / "l.pdf").stat().st_size > 1000
