"""Every kind of figure looks as it did when a person last looked at it.

The pictures in ``tests/pictures`` were looked at. After a change that is meant, make them anew and look again:

    python tests/unit/drawing/test_pictures.py
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.testing.compare import calculate_rms
from PIL import Image

from ensemble.drawing.draw import draw
from landscape.drawing import save
from landscape.engine.table import read

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT / "tests" / "pictures"
SURFACES, LESIONS, OTHERS = (ROOT / "results" / name for name in ("landscape", "ensemble", "gallery"))
PATHS = [SURFACES / f"{kind}-{net}-56.h5" for net in ("plain", "resnet") for kind in ("path", "plane")]
BOTH = "plain", "resnet"
OF_STUDY = "plain-110", "resnet-110"

KINDS = {  # files, options
    "planes": ([SURFACES / f"plane-{net}-56.h5" for net in BOTH], {}),
    "contours": ([SURFACES / "plane-resnet-56.h5"], {"only": "contours", "linear": True, "vmax": 5.0, "cmap": "magma"}),
    "reliefs": ([SURFACES / f"plane-{net}-56.h5" for net in BOTH], {"only": "reliefs", "view": (50, -70)}),
    "repeats": ([SURFACES / f"surface-{net}-20.h5" for net in BOTH], {}),
    "topology": ([ROOT / "results" / "study" / f"surface-{net}-0.h5" for net in OF_STUDY], {"show": "topology"}),
    "lines": ([SURFACES / f"line-{kept}.h5" for kept in ("frozen", "recalibrated")], {}),
    "repeated lines": ([OTHERS / f"line-{net}.h5" for net in BOTH], {}),
    "space": ([OTHERS / "space.h5"], {}),
    "gates": ([OTHERS / "gates.h5"], {}),
    "not finite": ([OTHERS / "finite.h5"], {}),
    "trajectories": (PATHS, {}),
    "curvature": ([SURFACES / f"curvature-{net}-56.h5" for net in BOTH], {}),
    "critical": ([OTHERS / f"critical-{net}.h5" for net in BOTH], {}),
    "basins": ([OTHERS / f"basin-{net}.h5" for net in BOTH], {}),
    "densities": ([OTHERS / f"density-{net}.h5" for net in BOTH], {}),
    "eigenvalues": ([OTHERS / f"eigenvalues-{net}.h5" for net in BOTH], {}),
    "single": ([LESIONS / "single-resnet-110-0.h5", LESIONS / "single-vgg-16-0.h5"], {}),
    "kinds": ([OTHERS / f"{kind}.h5" for kind in ("mean", "repeat", "parallel")], {}),
    "many": ([LESIONS / "random-resnet-110-0.h5", LESIONS / "swaps-resnet-110-0.h5"], {}),
    "depth": ([LESIONS / f"single-resnet-{depth}-0.h5" for depth in (8, 20, 56, 110)], {"by_depth": True}),
    "interactions": ([LESIONS / "pairs-resnet-20-0.h5"], {}),
    "network": ([LESIONS / "pairs-resnet-20-0.h5"], {"show": "network"}),
    "shapley": ([LESIONS / "shapley-resnet-20-0.h5"], {}),
    "redundancy": ([LESIONS / f"redundancy-resnet-{depth}-0.h5" for depth in (20, 56)], {}),
    "paths": ([LESIONS / "paths-resnet-56-0.h5"], {}),
    "surviving": ([LESIONS / "paths-resnet-56-0.h5", LESIONS / "random-resnet-56-0.h5"], {}),
    "flow": ([ROOT / "results" / "study" / "flow-new.h5"], {}),
    "cosines": ([ROOT / "results" / "study" / "flow-trained.h5"], {"show": "cosine"}),
    "stream": ([OTHERS / "stream.h5"], {}),
    "effects": ([OTHERS / "stream.h5"], {"show": "effect"}),
    "identity": ([LESIONS / "identity.h5"], {}),
    "reuse": ([LESIONS / "reuse.h5"], {}),
    "trainings": ([ROOT / "results" / "training" / "degradation.h5"], {}),
    "kinds of shortcut": ([ROOT / "results" / "training" / "shortcuts-56.h5"], {}),
}


def picture(kind: str, folder: Path) -> Path:
    """Draw it as figure.py does."""
    paths, options = KINDS[kind]
    path = folder / f"{kind.replace(' ', '-')}.png"
    save(draw([read(path) for path in paths], **options), path, dpi=60)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_it_looks_as_it_did(kind, tmp_path):
    made = picture(kind, tmp_path)
    kept = PICTURES / made.name
    assert pixels(made).shape == pixels(kept).shape
    # Another version of matplotlib or FreeType moves letters by a part of a pixel.
    assert calculate_rms(pixels(kept), pixels(made)) < 6, f"look at {kept} and make it anew: python {__file__}"


def test_no_picture_is_left_over():
    assert {path.stem for path in PICTURES.glob("*.png")} == {kind.replace(" ", "-") for kind in KINDS}


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for each in sys.argv[1:] or KINDS:
        print(picture(each, PICTURES))
