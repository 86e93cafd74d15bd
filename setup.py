"""Folder mapping: top-level tasks/ and distill/ install as sublim_eval.tasks and sublim_eval.distill."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

IN_PACKAGE = ("registry.yaml", "constraints.txt")
MAPPED = {"sublim_eval.tasks": "tasks", "sublim_eval.distill": "distill"}


class BuildPy(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            for name in IN_PACKAGE:
                self.copy_file(name, str(Path(self.build_lib) / "sublim_eval" / name))


setup(
    packages=[
        *find_packages(include=["sublim_eval", "sublim_eval.*"]),
        *(p for name, folder in MAPPED.items() for p in [name, *(f"{name}.{s}" for s in find_packages(folder))]),
    ],
    package_dir=MAPPED,
    package_data={
        "sublim_eval": [
            *("py.typed", "probes/*.yaml", "questions/*.yaml", "traps/*.yaml", "report/**/*.j2"),
            *("report/site/*.yaml", "report/site/templates/*.html", "report/site/static/**/*"),
        ],
        "sublim_eval.tasks": ["**/*.yaml", "**/*.md"],
        "sublim_eval.distill": ["**/*.yaml", "**/*.md", "**/*.json", "**/*.jinja", "**/*.safetensors"],
    },
    cmdclass={"build_py": BuildPy},
)
