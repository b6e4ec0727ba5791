import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from landscape.drawing.style import COLORS, looks_of

PLAIN, RESNET, OTHER = "plain, 20 layers", "ResNet-20", "ResNet-56, pre-activation"
# Machado, Oliveira and Fernandes 2009, table 1, severity 1: linear RGB as it is seen without one kind of cones.
VISION = {
    "all cones": np.eye(3),
    "no L": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no M": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no S": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color, vision):
    """CIE L*a*b* of a colour."""
    rgb = np.array(to_rgb(color))
    linear = np.clip(np.array(vision) @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (c / white for c, white in zip(xyz, (0.9505, 1, 1.089), strict=True))
    x, y, z = (np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION.values(), ids=VISION)
def test_no_two_colours_are_one_to_any_kind_of_vision(vision):
    for one, other in itertools.combinations(COLORS, 2):
        assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 15  # 2 can be told beside each other


def test_deeper_networks_of_a_kind_are_darker_in_every_kind_of_vision():
    for form in ("plain, {} layers", "ResNet-{}", "ResNet-{}, pre-activation"):
        looks = looks_of([form.format(depth) for depth in (20, 56, 110)]).values()
        for vision in VISION.values():
            light, darker, dark = (lab(look["color"], vision) for look in looks)
            assert light[0] > darker[0] > dark[0]
            assert min(np.linalg.norm(light - darker), np.linalg.norm(darker - dark)) > 8
        assert {look["marker"] for look in looks} == {""}


@pytest.mark.parametrize(
    "names", [names for n in (1, 2, 3) for names in itertools.permutations([PLAIN, RESNET, OTHER], n)]
)
def test_a_network_has_one_colour_in_all_figures(names):
    whole = looks_of([PLAIN, RESNET, OTHER])
    assert looks_of(names) == {name: whole[name] for name in names}


@pytest.mark.parametrize("names", [[PLAIN], [], [f"VGG-{n}" for n in range(8)]], ids=["plain", "none", "VGGs"])
def test_networks_up_to_eight_have_eight_colours_and_more_have_markers_besides(names):
    for number in (8, 9, 40):
        looks = looks_of([*names, *map(str, range(number - len(names)))])
        assert len({tuple(look.values()) for look in looks.values()}) == number
        assert sum(not look["marker"] for look in looks.values()) == 8
        assert len({look["color"] for look in looks.values()}) == 8


def test_a_further_network_of_a_kind_does_not_take_the_colour_of_another_kind():
    kinds = {look["color"] for look in looks_of(["plain", "ResNet", "pre-activation", "DenseNet", "VGG"]).values()}
    two = looks_of(["ResNet-20", "ResNet-56"])
    assert two["ResNet-20"] == looks_of([RESNET])[RESNET] and two["ResNet-56"]["color"] not in kinds
