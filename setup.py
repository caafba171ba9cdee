"""What pyproject.toml cannot say: `configs/` lies at the top of the repository and in the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["jaxemo", "jaxemo.*"]), "jaxemo.configs"],
    package_dir={"jaxemo.configs": "configs"},
)
