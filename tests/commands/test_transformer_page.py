"""The page on transformers, from a folder to figures, as it stands; with a small model in the place of the page's."""

import re
import shlex

import pytest
from files import ROOT
from processes import command

PAGE = (ROOT / "docs" / "transformer.md").read_text()
COMMANDS = [shlex.split(words) for words in re.findall(r"^skipscape (.*)$", PAGE, re.MULTILINE)]
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("page")
    small = {"n_layer": 3, "n_embd": 16, "n_head": 2, "vocab_size": 256, "n_positions": 512}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**small, bos_token_id=0, eos_token_id=0)).save_pretrained(folder / "gpt2")
    (folder / "book.txt").write_text((ROOT / "README.md").read_text()[:3000])
    return folder


def test_every_command_and_example_runs_in_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for script, *words in COMMANDS:
        command(script, *words)
    names = {"__name__": "__main__"}
    for example in EXAMPLES:
        exec(compile(example, "docs/transformer.md", "exec"), names)
    assert names["study"]["agreement"][0] == 1 and names["line"]["loss"].shape == (5,)
    figures = {words[0] for script, *words in COMMANDS if script == "figure"} | {"kl.pdf"}
    assert len(figures) == 6 and all((folder / name).read_bytes().startswith(b"%PDF") for name in figures)
