"""Installs the folder scripts as the package skipscape; everything else is in setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=["skipscape", *find_packages(include=["landscape*", "ensemble*"])],
    package_dir={"skipscape": "scripts"},
)
