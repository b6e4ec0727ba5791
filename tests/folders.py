"""Folders of save_pretrained(): small networks of transformers with random weights, and a tokenizer made here."""

from pathlib import Path

import torch

__all__ = ["TEXT", "causal", "classifier", "masked", "saved_tokenizer"]

TEXT = "\n".join(f"The quick brown fox number {i} jumps over {i % 7} lazy dogs, and über the fence." for i in range(60))
SMALL = {"vocab_size": 300, "pad_token_id": 1}


def causal(folder: Path, seed: int = 0, **settings):
    """A GPT-2 of two layers, saved with a tokenizer, and its folder."""
    import transformers

    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}
    return _saved(transformers.GPT2LMHeadModel, transformers.GPT2Config(**(SMALL | sizes | settings)), folder, seed)


def masked(folder: Path, seed: int = 0):
    """A BERT that fills in what is masked."""
    import transformers

    return _saved(transformers.BertForMaskedLM, _bert(), folder, seed)


def classifier(folder: Path, seed: int = 0):
    """A BERT that tells three classes of text apart."""
    import transformers

    names = {"bad": 0, "fair": 1, "good": 2}
    config = _bert(label2id=names, id2label={number: name for name, number in names.items()})
    return _saved(transformers.BertForSequenceClassification, config, folder, seed)


def saved_tokenizer(folder: Path):
    """Byte pairs of `TEXT`."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"eos_token": "<end>", "pad_token": "<pad>", "mask_token": "<mask>"}
    special |= {"cls_token": "<cls>", "sep_token": "<sep>"}
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    how = {"special_tokens": [*special.values()], "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator([TEXT], tokenizers.trainers.BpeTrainer(vocab_size=300, **how))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<cls> $A <sep>", special_tokens=[("<cls>", 3), ("<sep>", 4)]
    )
    whole = PreTrainedTokenizerFast(tokenizer_object=made, **special)
    whole.save_pretrained(folder)
    return whole


def _bert(**settings):
    import transformers

    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    return transformers.BertConfig(**(SMALL | sizes | {"max_position_embeddings": 64} | settings))


def _saved(kind, config, folder: Path, seed: int):
    torch.manual_seed(seed)
    network = kind(config).eval()
    network.save_pretrained(folder)
    return network, saved_tokenizer(folder)
