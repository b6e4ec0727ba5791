"""Print the oldest versions that setup.cfg allows, as constraints for pip.

Whoever has these has what we say is enough: ``make floors`` installs them and runs the quick units. By hand, in bash::

    pip install -c <(python scripts/development/floors.py) -e '.[test]'
"""

import re
from configparser import ConfigParser
from pathlib import Path

SETTINGS = Path(__file__).parents[2] / "setup.cfg"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[.*\])?>=(?P<floor>[\d.]+)")


def floors(settings: Path = SETTINGS) -> dict[str, str]:
    """The floor of each requirement and of each extra's, by the name of the package."""
    parser = ConfigParser(inline_comment_prefixes=("#",))
    parser.read(settings, encoding="utf-8")
    lists = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    matches = [REQUIREMENT.fullmatch(line) for each in lists for line in each.split()]
    return {match["name"]: match["floor"] for match in matches if match}


if __name__ == "__main__":
    print("\n".join(f"{name}=={floor}" for name, floor in floors().items()))
