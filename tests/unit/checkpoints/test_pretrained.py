"""A folder of save_pretrained() is measured as transformers measures it, without more said; none is made up."""

import json
import sys

import numpy as np
import pytest
import torch

from landscape.checkpoints.checkpoint import load
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator

pytest.importorskip("transformers")
import transformers
from folders import TEXT, causal, classifier, masked


@pytest.fixture
def text(tmp_path):
    (tmp_path / "fox.txt").write_text(TEXT, encoding="utf-8")
    return f"text:{tmp_path / 'fox.txt'}"


@pytest.fixture
def folder(tmp_path):
    causal(tmp_path / "my-gpt2")
    return tmp_path / "my-gpt2"


def outputs(network):
    with torch.no_grad():
        return network(torch.arange(48).view(2, 24)).logits


def test_the_loss_of_a_causal_language_model_is_that_of_transformers(tmp_path, text):
    network, tokenizer = causal(tmp_path / "my-gpt2")
    measured = Evaluator.from_checkpoint(tmp_path / "my-gpt2", data=text, window=32)()
    tokens = tokenizer(TEXT, return_tensors="pt", add_special_tokens=False)["input_ids"][0]
    windows = tokens[: len(tokens) // 32 * 32].view(-1, 32)
    with torch.no_grad():
        losses = [network(input_ids=w[None], labels=w[None]).loss.item() for w in windows]
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert measured["examples"] == len(losses)


def test_the_loss_of_a_masked_language_model_is_that_of_transformers(tmp_path, text):
    network, _ = masked(tmp_path / "bert")
    evaluate = Evaluator.from_checkpoint(tmp_path / "bert", data=text, window=32)
    losses = []
    for inputs, targets in evaluate.sources[0].batches:
        for window, labels in zip(inputs, targets, strict=True):
            with torch.no_grad():
                losses.append(network(input_ids=window[None], labels=labels[None]).loss.item())
    assert evaluate()["loss"] == pytest.approx(np.mean(losses), rel=1e-6)


def test_the_loss_of_a_classifier_is_that_of_transformers(tmp_path):
    network, tokenizer = classifier(tmp_path / "bert")
    rows = {"a fine and long day": 2, "no": 0, "hm, who knows": 1}
    (tmp_path / "x.csv").write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows.items()))
    measured = Evaluator.from_checkpoint(tmp_path / "bert", data=f"text:{tmp_path / 'x.csv'}")()
    with torch.no_grad():
        losses = [
            network(**tokenizer(text, return_tensors="pt"), labels=torch.tensor([label])).loss.item()
            for text, label in rows.items()
        ]
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("decoder", [False, True])
def test_a_network_that_sees_what_it_is_to_predict_is_no_causal_one(tmp_path, text, decoder):
    bert, _ = masked(tmp_path / "bert")
    bert.config.is_decoder = decoder
    transformers.BertLMHeadModel(bert.config).save_pretrained(tmp_path / "bert")
    if decoder:
        assert Evaluator.from_checkpoint(tmp_path / "bert", data=text, window=32)()["loss"] > 0
        return
    with pytest.raises(BadInput, match="bert sees the tokens that it is to predict"):
        Evaluator.from_checkpoint(tmp_path / "bert", data=text, window=32)


def test_padding_counts_nowhere(tmp_path):
    network, tokenizer = causal(tmp_path / "my-gpt2")
    rows = tokenizer(["one two", "three four five six, and more", "hm"], padding=True, return_tensors="pt")
    ids, mask = rows["input_ids"], rows["attention_mask"]
    np.savez(tmp_path / "x.npz", input_ids=ids.numpy(), attention_mask=mask.numpy())
    measured = Evaluator.from_checkpoint(tmp_path / "my-gpt2", data=str(tmp_path / "x.npz"))()
    with torch.no_grad():
        losses = [
            network(input_ids=r[None, : m.sum()], labels=r[None, : m.sum()]).loss
            for r, m in zip(ids, mask, strict=True)
        ]
    assert measured["loss"] == pytest.approx(float(sum(losses)) / 3, rel=1e-5)


@pytest.mark.parametrize("how", [{}, {"max_shard_size": "20KB"}, {"bin": True}])
def test_shards_and_old_files_give_the_same_network(tmp_path, how):
    network, _ = causal(tmp_path / "whole")
    if how.pop("bin", False):
        network.config.save_pretrained(tmp_path / "other")
        torch.save(network.state_dict(), tmp_path / "other" / "pytorch_model.bin")
    else:
        network.save_pretrained(tmp_path / "other", **how)
    restored = load(tmp_path / "other").restore()
    assert type(restored) is type(network) and not restored.training
    assert torch.equal(outputs(restored), outputs(network))
    assert restored.lm_head.weight is restored.transformer.wte.weight  # tied


def test_the_network_is_in_float32_with_weights_of_its_own(tmp_path):
    network, _ = causal(tmp_path / "half")
    network.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    file = tmp_path / "half" / "model.safetensors"
    restored = load(tmp_path / "half").restore()
    assert {p.dtype for p in restored.parameters()} == {torch.float32}
    causal(tmp_path / "half", seed=1)
    restored, before = load(tmp_path / "half").restore(), file.read_bytes()
    expected = outputs(restored)
    with open(file, "r+b") as opened:  # in place, as whoever saves again does
        opened.write(bytes(len(before)))
    assert torch.equal(outputs(restored), expected)


def test_the_network_is_called_after_its_folder_and_known_by_both_files(folder, text):
    evaluate = Evaluator.from_checkpoint(folder, data=text, window=32)
    with evaluate.ready() as evaluation:
        before = evaluation.metadata
    assert before["network"] == evaluate.checkpoint.title == "my-gpt2"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 0.1}))
    with Evaluator.from_checkpoint(folder, data=text, window=32).ready() as evaluation:
        after = evaluation.metadata
    assert {name for name in before if before[name] != after[name]} == {"config_digest"}


def test_other_folders_are_ends_of_a_line(tmp_path, text):
    from landscape.planes.make_plane import plane_to
    from landscape.planes.surface import surface

    for seed in (0, 1):
        causal(tmp_path / f"gpt2-{seed}", seed=seed)
    here, there = (Evaluator.from_checkpoint(tmp_path / f"gpt2-{seed}", data=text, window=32) for seed in (0, 1))
    line = surface(here, plane_to(here.network, tmp_path / "gpt2-1"), x=(0, 1, 2))
    assert line["loss"].tolist() == pytest.approx([here()["loss"], there()["loss"]], rel=1e-6)


def test_names_that_transformers_has_changed_are_no_obstacle(tmp_path):
    """Its Mixtral has the experts of a layer in one tensor, and saves them apart."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_local_experts": 2}
    config = transformers.MixtralConfig(
        vocab_size=20, num_attention_heads=2, num_key_value_heads=2, bos_token_id=0, eos_token_id=0, **sizes
    )
    network = transformers.MixtralForCausalLM(config).eval()
    network.save_pretrained(tmp_path / "moe")
    own = network.state_dict()
    assert load(tmp_path / "moe").restore().state_dict().keys() == own.keys()
    weights = load(tmp_path / "moe", "transformers:MixtralForCausalLM", like=network).weights
    assert all(torch.equal(weights[name], own[name]) for name in own)


def changed(folder, case, monkeypatch):
    """A folder in which something is wrong."""
    from safetensors.torch import load_file, save_file

    weights, file = load_file(folder / "model.safetensors"), folder / "config.json"
    config = json.loads(file.read_text())
    if case == "a head that is missing":
        config["architectures"] = ["GPT2ForSequenceClassification"]
    elif case == "a tensor that is missing":
        del weights["transformer.h.0.mlp.c_fc.weight"]
    elif case == "another shape":
        config["n_inner"] = 100
    elif case == "a larger network":
        config["n_layer"] = 10**5
    elif case == "code of its own":
        config |= {"architectures": ["MyModel"], "auto_map": {"AutoModelForCausalLM": "modeling.MyModel"}}
        (folder / "modeling.py").write_text("raise AssertionError('was run')")
    elif case == "a class that is no network":
        config["architectures"] = ["pipeline"]
    elif case == "a kernel":
        config["attn_implementation"] = "someone/kernel"
    elif case == "quantised":
        config["quantization_config"] = {"quant_method": "bitsandbytes"}
    elif case == "settings of another kind":
        config["n_embd"] = "wide"
    elif case == "not installed":
        monkeypatch.setitem(sys.modules, "transformers", None)
    elif case == "not finite":
        weights["transformer.ln_f.weight"][0] = torch.nan
    file.write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("a head that is missing", "no weights for score.weight of its GPT2ForSequenceClassification, which would be"),
        ("a tensor that is missing", "no weights for transformer.h.0.mlp.c_fc.weight"),
        ("another shape", r"has transformer.h.0.mlp.c_fc.bias \(128,\), but its config.json makes it \(100,\)"),
        ("a larger network", "a larger network than its weights"),
        ("code of its own", "holds a MyModel, which transformers .* does not have, and code"),
        ("a class that is no network", "holds a pipeline"),
        ("a kernel", "asks for the code of someone/kernel"),
        ("quantised", "quantised weights"),
        ("settings of another kind", "cannot be made a GPT2LMHeadModel"),
        ("not installed", r"pip install 'skipscape\[transformers\]'"),
        ("not finite", "not finite in transformer.ln_f.weight"),
    ],
)
def test_what_is_no_such_network_is_one_line(folder, monkeypatch, case, message):
    changed(folder, case, monkeypatch)
    with pytest.raises(BadInput, match=message) as error:
        load(folder).restore()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"entry": "ema"}, "has no entries"),
        ({"arguments": {"n_layer": 3}}, "leave out argument"),
        ({"data": None}, "add data"),
    ],
)
def test_what_a_folder_has_no_use_for_is_refused(folder, text, how, message):
    with pytest.raises(BadInput, match=message):
        Evaluator.from_checkpoint(folder, **({"data": text} | how))


def test_the_messages_of_transformers_are_left_as_they_were(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folder).restore()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
