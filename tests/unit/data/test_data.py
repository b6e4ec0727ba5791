"""Data: what is loaded is what was stored, normalised, in a known order; what is broken is named."""

import dataclasses
import io
import re
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from landscape.data import augment, batches, load, load_for_training, stratified_order
from landscape.errors import BadInput


def arrays(**changes):
    """A small .npz's worth of 6×5 RGB images in 3 classes."""
    rng = np.random.default_rng(0)
    sound = {
        "train_images": rng.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": rng.integers(0, 256, (6, 6, 5, 3), dtype=np.uint8),
        "test_labels": np.arange(6) % 3,
    }
    return {name: array for name, array in (sound | changes).items() if array is not None}


@pytest.fixture
def npz(tmp_path):
    def write(save=np.savez, **changes):
        save(tmp_path / "x.npz", **arrays(**changes))
        return str(tmp_path / "x.npz")

    return write


@pytest.fixture
def folder(tmp_path):
    """ROOT/{train,test}/{cat,dog}/*.png, each image of one colour."""
    root = tmp_path / "pets"
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                colour = (100 * label, 10 * i, 7)
                Image.new("RGB", (5, 6), colour).save(root / split / name / f"{i}.png")
    return root


def stored(data):
    """Images as the bytes that they were."""
    return (data.images * 255).round().to(torch.uint8)


def refused(name, split="train", **options):
    """Load what must not load, and return the one line that says why."""
    with pytest.raises(BadInput) as caught:
        load(str(name), split, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Digits


def test_digits_are_split_two_to_one_and_nothing_is_lost():
    train, test = load("digits", "train"), load("digits", "test")
    assert len(train.images) + len(test.images) == 1797
    assert train.images.shape[1:] == (1, 8, 8) and train.images.dtype == torch.float32
    for digit in range(10):
        share = (train.labels == digit).sum() / ((train.labels == digit).sum() + (test.labels == digit).sum())
        assert abs(share - 2 / 3) < 0.01
    ours = torch.cat([d.images for d in (train, test)]).flatten(1) * 16
    theirs = load_digits().data
    assert sorted(map(tuple, ours.round().int().tolist())) == sorted(map(tuple, theirs.astype(int).tolist()))


def test_the_split_of_digits_does_not_depend_on_the_seed():
    assert load("digits", "train", seed=1).digest == load("digits", "train", seed=2).digest


# What is done to inputs: nothing, unless asked


@pytest.mark.parametrize("make", ["digits", "folder", "npz"])
def test_standardised_training_images_have_mean_zero_and_deviation_one_per_channel(make, request):
    name = make if make == "digits" else request.getfixturevalue(make)
    data = load(str(name() if callable(name) else name), "train", standardize=True)
    assert data.inputs.endswith(f"std {' '.join(f'{x:.8g}' for x in data.std)}")
    std, mean = torch.std_mean(data.images.double(), dim=(0, 2, 3), correction=0)
    varies = std > 0
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)
    torch.testing.assert_close(std[varies], torch.ones_like(std[varies]), atol=1e-6, rtol=0)


def test_the_test_split_uses_the_constants_of_training(npz):
    train, test = (load(npz(), split, standardize=True) for split in ("train", "test"))
    assert (train.mean, train.std) == (test.mean, test.std)
    assert (load(npz(), "test", examples=3, standardize=True).mean, len(train.mean)) == (train.mean, 3)
    assert train.inputs == test.inputs


def test_given_constants_are_used_as_they_are(npz):
    data = load(npz(), "test", mean=(0, 0, 0), std=(1, 1, 1))
    expected = torch.tensor(arrays()["test_images"]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(data.images, expected, atol=0, rtol=0)
    assert (data.mean, data.std) == ((0, 0, 0), (1, 1, 1))


def test_a_channel_that_never_varies_stays_finite(npz):
    flat = np.full((12, 1, 6, 5), 0.1, np.float32)
    data = load(npz(train_images=flat, test_images=flat[:6]), "train", standardize=True)
    assert data.std == (1.0,) and data.images.abs().max() < 1e-6


def test_unusable_constants_are_refused(npz):
    assert "both or neither" in refused(npz(), mean=(0, 0, 0))
    assert "3 channel(s)" in refused(npz(), mean=(0,), std=(1,))
    assert "std above 0" in refused(npz(), mean=(0, 0, 0), std=(1, 0, 1))
    assert "finite" in refused(npz(), mean=(0, 0, np.nan), std=(1, 1, 1))


# Where data come from


def test_a_folder_is_read_as_rgb_with_classes_in_alphabetical_order(folder):
    data = load(f"{folder}/", "train")
    assert (data.name, data.split, data.classes) == ("pets", "train", 2)
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert stored(data)[:, :, 2, 3].tolist() == [[100 * k, 10 * i, 7] for k in (0, 1) for i in range(4)]


def test_grey_images_and_jpeg_in_a_folder_become_rgb_too(folder):
    Image.new("L", (5, 6), 90).save(folder / "train" / "cat" / "0.png")
    Image.new("RGB", (5, 6), (90, 90, 90)).save(folder / "train" / "dog" / "9.JPEG")
    data = load(str(folder), "train")
    assert stored(data)[[0, -1], :, 2, 3].tolist() == [[90] * 3] * 2


def test_val_stands_for_test(folder):
    expected = load(str(folder), "test").digest
    (folder / "test").rename(folder / "val")
    assert load(str(folder), "test").digest == expected


def test_a_subset_of_a_folder_decodes_only_its_own_files(folder):
    constants = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    chosen = stratified_order(load(str(folder), "train").labels, 0)[:2].tolist()
    unused = next(i for i in range(4) if i not in chosen)
    (folder / "train" / "cat" / f"{unused}.png").write_bytes(b"no image")
    assert len(load(str(folder), "train", examples=2, **constants).images) == 2


def test_images_of_different_sizes_are_named_or_resized(folder):
    odd = folder / "train" / "dog" / "2.png"
    Image.new("RGB", (9, 8)).save(odd)
    line = refused(folder)
    assert str(odd) in line and "9×8" in line and "5×6" in line and "size" in line
    assert load(str(folder), "train", size=4).images.shape == (8, 3, 4, 4)


def test_large_images_decoded_in_threads_keep_their_order(folder):
    for file in folder.rglob("*.png"):
        Image.open(file).resize((80, 80)).save(file)
    assert stored(load(str(folder), "train"))[:, 1, 40, 40].tolist() == [0, 10, 20, 30] * 2


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (np.zeros((12, 6, 5), np.uint8), (12, 1, 6, 5)),
        (np.zeros((12, 6, 5, 1), np.uint8), (12, 1, 6, 5)),
        (np.zeros((12, 6, 5, 3), np.uint8), (12, 3, 6, 5)),
        (np.zeros((12, 2, 6, 5), ">f8"), (12, 2, 6, 5)),
        (np.zeros((12, 2, 6, 5), np.float16, order="F"), (12, 2, 6, 5)),
    ],
)
def test_every_documented_layout_of_an_npz_becomes_n_c_h_w(npz, images, shape):
    data = load(npz(train_images=images), "train")
    assert data.images.shape == shape and data.images.is_contiguous() and data.name == "x"


def test_compressed_or_not_an_npz_is_the_same_data(npz):
    assert load(npz(), "train").digest == load(npz(np.savez_compressed), "train").digest


def test_float_labels_are_targets_of_a_regression(npz):
    targets = {"train_labels": np.ones((12, 4)), "test_labels": np.ones((6, 4))}
    data = load(npz(**targets), "train", examples=5)
    assert (data.classes, data.labels.shape, data.labels.dtype) == (None, (5, 4), torch.float32)
    assert load(npz(train_labels=np.ones(12), test_labels=np.ones(6)), "test").labels.shape == (6,)


def test_a_function_can_be_the_data(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "import numpy as np, torch\n"
        "def spots(split):\n"
        "    n = {'train': 8, 'test': 4}[split]\n"
        "    return np.zeros((n, 6, 5), np.uint8), torch.arange(n) % 2\n"
        "def odd(split): return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data = load("own_data:spots", "test")
    assert (data.name, data.classes, data.images.shape) == ("own_data:spots", 2, (4, 1, 6, 5))
    assert "there is no lines in" in refused("own_data:lines")
    assert "own_data:odd returned" in refused("own_data:odd")
    assert "cannot import no_such_module" in refused("no_such_module:spots")


def test_fashionmnist_is_read_from_where_torchvision_keeps_it(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, n in (("train", 20), ("t10k", 10)):
        big_endian = np.array([0x803, n, 28, 28], ">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(big_endian + bytes(range(n)) * 28 * 28)
        big_endian = np.array([0x801, n], ">i4").tobytes()
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(big_endian + bytes(i % 10 for i in range(n)))
    data = load("fashionmnist", "train", root=tmp_path)
    assert data.images.shape == (20, 1, 28, 28) and data.labels.tolist() == [*range(10)] * 2
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    assert "damaged" in refused("fashionmnist", root=tmp_path)


def test_cifar10_has_its_published_constants(monkeypatch):
    class Fake:
        def __init__(self, root, train, download):
            self.data = np.zeros((10, 32, 32, 3), np.uint8)
            self.targets = list(range(10))

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Fake)
    published = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    for how in ({"standardize": True}, {"mean": "cifar10"}, dict(zip(("mean", "std"), published, strict=True))):
        data = load("cifar10", "test", **how)
        assert (data.mean, data.std) == published
        expected = -torch.tensor(published[0]) / torch.tensor(published[1])
        torch.testing.assert_close(data.images, expected[:, None, None].expand(10, 3, 32, 32))
    data = load("cifar10", "test")
    assert data.images.shape == (10, 3, 32, 32) and not data.images.any() and not data.mean
    assert data.inputs == "8-bit images as [0, 1]"


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashionmnist"])
def test_absent_torchvision_data_are_not_fetched_unasked(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPSCAPE_DATA", str(tmp_path / "nowhere"))
    line = refused(name)
    assert "download" in line and "root" in line and str(tmp_path / "nowhere") in line
    assert not (tmp_path / "nowhere").exists()


# Subsets and order


@given(
    labels=st.lists(st.integers(0, 5) | st.sampled_from([0] * 20 + [1] * 4), min_size=1, max_size=200),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_prefix_of_the_order_is_stratified(labels, seed):
    labels = torch.tensor(labels)
    order = stratified_order(labels, seed)
    assert order.sort().values.tolist() == list(range(len(labels)))
    counts = torch.nn.functional.one_hot(labels[order]).cumsum(0)  # (N, K)
    share = counts[-1] / len(labels)
    excess = counts - torch.arange(1, len(labels) + 1)[:, None] * share
    present = (share > 0).sum()
    assert (excess.abs() <= 0.5 + share * (1 + present / 2) + 1e-4).all()


def test_classes_of_equal_size_differ_by_at_most_one_in_every_prefix():
    order = stratified_order(torch.arange(200) % 10, seed=3)
    counts = torch.nn.functional.one_hot(order % 10).cumsum(0)
    assert (counts.amax(1) - counts.amin(1)).max() == 1


def test_the_order_depends_on_the_seed_and_on_nothing_else():
    labels = torch.arange(100) % 7
    torch.manual_seed(5)
    first = stratified_order(labels, 0)
    torch.manual_seed(6)
    assert torch.equal(first, stratified_order(labels.int(), 0))
    assert not torch.equal(first, stratified_order(labels, 1))


def test_a_smaller_subset_begins_every_larger_one():
    small, large = (load("digits", "train", examples=n, seed=4) for n in (100, 300))
    assert torch.equal(small.images, large.images[:100]) and torch.equal(small.labels, large.labels[:100])
    small, large = (load("digits", "train", examples=n, standardize=True) for n in (100, None))
    assert small.mean == large.mean


@pytest.mark.parametrize("examples", [0, -1, 1202])
def test_a_subset_that_cannot_be_had_is_refused_with_both_numbers(examples):
    line = refused("digits", examples=examples)
    assert str(examples) in line and "1201" in line


def test_the_digest_changes_with_whatever_is_measured_and_with_nothing_else():
    data = load("digits", "test", examples=50)
    assert data.digest == load("digits", "test", examples=50).digest
    others = [
        load("digits", "test", examples=51),
        load("digits", "test", examples=50, seed=1),
        load("digits", "train", examples=50),
        load("digits", "test", examples=50, mean=(0,), std=(2,)),
    ]
    assert len({d.digest for d in [data, *others]}) == 5
    assert re.fullmatch("[0-9a-f]{64}", data.digest)


def test_the_same_bytes_in_another_shape_are_other_data(npz):
    constants = {"mean": (0,), "std": (1,)}
    tall, wide = (np.zeros((12, 1, *shape), np.float32) for shape in ((6, 5), (5, 6)))
    assert load(npz(train_images=tall), "train", **constants).digest != (
        load(npz(train_images=wide), "train", **constants).digest
    )


# Batches and augmentation


def test_batches_are_views_of_one_resident_tensor_in_order():
    data = load("digits", "train", examples=50)
    parts = batches(data, 16)
    assert [len(labels) for _, labels in parts] == [16, 16, 16, 2]
    assert torch.equal(torch.cat([images for images, _ in parts]), data.images)
    assert {images.untyped_storage().data_ptr() for images, _ in parts} == {data.images.untyped_storage().data_ptr()}


def test_batches_change_the_type_of_images_and_targets_but_not_of_labels(npz):
    images, labels = batches(load("digits", "test"), 10, dtype=torch.float64)[0]
    assert (images.dtype, labels.dtype) == (torch.float64, torch.int64)
    path = npz(train_labels=np.ones(12), test_labels=np.ones(6))
    assert batches(load(path, "test"), 10, dtype=torch.float64)[0][1].dtype == torch.float64


def test_a_batch_holds_at_least_one_example():
    with pytest.raises(BadInput, match="batch size is 0"):
        batches(load("digits", "test", examples=10), 0)


def test_augmented_images_are_shifted_and_mirrored_copies():
    images = torch.randn(40, 3, 7, 6)
    before = images.clone()
    out = augment(images, torch.Generator().manual_seed(0), pad=2)
    assert torch.equal(images, before) and out.shape == images.shape
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    seen = set()
    for i in range(40):
        matches = [
            (dy, dx, mirror)
            for dy in range(5)
            for dx in range(5)
            for mirror in (False, True)
            for crop in [padded[i, :, dy : dy + 7, dx : dx + 6]]
            if torch.equal(out[i], crop.flip(2) if mirror else crop)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert {m[0] for m in seen} == {m[1] for m in seen} == set(range(5)) and {m[2] for m in seen} == {
        True,
        False,
    }


def test_augmentation_follows_its_generator_only():
    images = torch.randn(20, 1, 8, 8)
    a, b, c = (augment(images, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(augment(images, torch.Generator(), pad=0, flip=False), images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_all_devices_see_the_same_crops():
    images = torch.randn(20, 3, 8, 8)
    here, there = (augment(images.to(d), torch.Generator().manual_seed(0)) for d in ("cpu", "cuda"))
    assert torch.equal(here, there.cpu())


# What is broken is named, in one line


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    line = refused("cifar11")
    assert all(name in line for name in ("cifar11", "digits", "cifar10", "cifar100", "fashionmnist"))
    assert "did you mean cifar10?" in refused("cifar-10")
    assert "no data" in refused(tmp_path / "nowhere")
    assert "no data" in refused(":f") and "no data" in refused("C:\\data")
    assert "split is 'valid'" in refused("digits", "valid")
    assert "no folder" in refused("digits", size=4)


def test_a_folder_that_is_no_data_set_says_what_it_lacks(folder):
    assert "size is 0" in refused(folder, size=0)
    (folder / "test" / "dog").rename(folder / "test" / "dig")
    assert "'dig'" in refused(folder)
    (folder / "train" / "dig").mkdir()
    assert f"{folder / 'train' / 'dig'} is empty" in refused(folder)
    (folder / "test").rename(folder / "other")
    assert "no test/" in refused(folder, "test")
    (folder / "test").mkdir()
    (folder / "train").rename(folder / "gone")
    assert "no train/" in refused(folder)
    (folder / "train").mkdir()
    assert "is empty" in refused(folder)


@pytest.mark.parametrize("size", [0, 1, 40, 300])
def test_a_broken_image_is_named(folder, size):
    broken = folder / "train" / "dog" / "1.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(noise).save(broken, quality=95)
    broken.write_bytes(broken.read_bytes()[:size])
    assert str(broken) in refused(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_labels": None}, "no array test_targets or test_labels; it has test_images, train_images, train_labels"),
        ({"train_images": np.zeros((12, 6, 5, 4), np.uint8)}, "expected of images (N, H, W)"),
        ({"train_images": np.zeros((12, 1, 3, 6, 5), np.uint8)}, "expected of images (N, H, W)"),
        ({"train_images": np.array(["red"] * 12)}, "expected numbers"),
        ({"train_images": np.zeros((11, 6, 5), np.uint8)}, "11 train_images and 12 train_labels"),
        ({"train_images": np.full((12, 1, 6, 5), np.nan)}, "360 values that are not finite"),
        ({"train_images": np.full((12, 1, 6, 5), 1e300)}, "not finite"),
        ({"train_images": np.zeros((12, 0, 5), np.uint8)}, "empty"),
        ({"train_images": np.zeros((0, 6, 5), np.uint8), "train_labels": np.zeros(0, int)}, "empty"),
        ({"train_labels": np.array(["cat"] * 12)}, "expected integers, or floats"),
        ({"train_labels": np.float64(3)}, "0 train_labels"),
        ({"train_labels": np.array([object()] * 12)}, "Python objects"),
        ({"train_labels": np.arange(12) - 1}, "go down to -1; expected class numbers from 0, or -100"),
        ({"train_labels": np.arange(12) * 10**9}, "Renumber the classes"),
        ({"train_labels": np.full(12, np.inf)}, "not finite"),
        ({"test_labels": np.full(6, 2**64 - 1)}, "go up to 18446744073709551615"),
    ],
)
def test_an_unsound_npz_says_what_is_wrong(npz, changes, words):
    split = "test" if any(name.startswith("test") for name in changes) else "train"
    assert words in refused(npz(**changes), split)


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_an_array_that_claims_more_than_it_holds_is_refused_before_it_is_read(npz, monkeypatch):
    path = npz(train_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", header((12, 10**6, 10**6, 10**6)) + bytes(100))
    assert "claims shape (12, 1000000, 1000000, 1000000)" in refused(path)
    monkeypatch.setattr("landscape.memory._free_memory", lambda: 100)
    assert "GiB" in refused(npz())


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"\x80\x04K\x01.")  # a pickle
    assert f"cannot read {tmp_path / 'x.npz'}" in refused(tmp_path / "x.npz")
    assert "No such file" in refused(tmp_path / "y.npz")


@pytest.mark.parametrize("where", ["zip", "array"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_npz_is_loaded_or_refused_but_never_a_crash(tmp_path_factory, where, data):
    def damage(content, span):
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, min(span, len(content)) - 1))] = data.draw(st.integers(0, 255))
        return bytes(content[: data.draw(st.sampled_from([None, -1, len(content) // 2]))])

    path = tmp_path_factory.mktemp("fuzz") / "x.npz"
    np.savez_compressed(path, **arrays())
    if where == "zip":
        path.write_bytes(damage(path.read_bytes(), 10**6))
    else:  # the zip is sound, so that its checksums do not give the damage away
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, damage(content, 130))
    for split in ("train", "test"):
        try:
            assert load(str(path), split).images.isfinite().all()
        except BadInput as error:
            assert "\n" not in str(error)


def test_data_cannot_be_reassigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("digits", "test").images = None


def test_both_splits_of_a_training_have_the_constants_that_are_given():
    training, test = load_for_training("digits", examples=20, mean=[0.5], std=[0.25])
    for data, split in ((training, load("digits", "train", examples=20)), (test, load("digits", "test"))):
        assert (data.mean, data.std) == ((0.5,), (0.25,))
        torch.testing.assert_close(data.images, (split.images - 0.5) / 0.25)
