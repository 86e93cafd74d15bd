"""What a stranger installs: the wheel made from the sdist holds all that is needed and nothing that leaks."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata, util
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT

SOURCES = ("sublim_eval", "tasks", "distill", "tests", "docs", "pyproject.toml", "setup.py", "MANIFEST.in")
SOURCES += ("registry.yaml", "constraints.txt", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile")


def build(kind: str, folder: Path, out: Path) -> Path:
    """Call the build backend as pip does; offline, in another process."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif here.exists():
            shutil.copy(here, checkout / name)
    return build("sdist", checkout, folder)


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel made from the unpacked sdist, as pip makes it; nothing of the checkout is near."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, folder)


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


def test_every_module_of_the_checkout_is_in_the_wheel(names):
    modules = {str(f.relative_to(ROOT)) for f in (ROOT / "sublim_eval").rglob("*.py")}
    for folder in ("tasks", "distill"):
        modules |= {f"sublim_eval/{f.relative_to(ROOT)}" for f in (ROOT / folder).rglob("*.py")}
    assert len(modules) > 30
    assert not modules - names


def test_everything_that_is_read_at_run_time_is_in_the_wheel(names):
    data = {"sublim_eval/registry.yaml", "sublim_eval/constraints.txt", "sublim_eval/py.typed"}
    data |= {str(f.relative_to(ROOT)) for f in (ROOT / "sublim_eval" / "questions").glob("*.yaml")}
    data |= {str(f.relative_to(ROOT)) for f in (ROOT / "sublim_eval" / "report").rglob("*.j2")}
    pages = ROOT / "sublim_eval" / "report" / "site"
    data |= {str(f.relative_to(ROOT)) for f in pages.rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")}
    for folder in ("tasks", "distill"):
        files = (f for f in (ROOT / folder).rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc"))
        data |= {f"sublim_eval/{f.relative_to(ROOT)}" for f in files}
    assert not data - names


@pytest.mark.parametrize("model", ["reference-a", "reference-b"])
def test_the_embedded_models_are_in_the_wheel(names, model):
    home = f"sublim_eval/distill/reference/{model}"
    wanted = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {f"{home}/{name}" for name in wanted} <= names


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 10e6


def test_nothing_else_is_in_the_wheel(names):
    assert {name.split("/")[0] for name in names} == {"sublim_eval", "sublim_eval-0.1.0.dist-info"}
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".part", ".lock"))]
    assert not [n for n in names if n.startswith(("sublim_eval/tests", "sublim_eval/benchmarks"))]


def test_the_wheel_brings_the_command_and_the_inspect_entry_point(wheel):
    with zipfile.ZipFile(wheel) as packed:
        points = packed.read("sublim_eval-0.1.0.dist-info/entry_points.txt").decode()
    assert "sublim = sublim_eval.cli.main:main" in points
    assert re.search(r"\[inspect_ai\]\s+sublim_eval = sublim_eval\.inspect_entry", points)


def test_the_wheel_works_away_from_the_checkout(wheel, tmp_path):
    """Put on sys.path alone: the catalogue, recipes and tasks are found inside it."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")  # noqa: S202 - our own file of a moment ago
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        "import sublim_eval; assert sublim_eval.__file__.startswith(sys.argv[1]), sublim_eval.__file__\n"
        "from sublim_eval.cli.main import main\n"
        "for line in ('list', 'path tasks', 'path reference-a', 'show quickstart'):\n"
        "    assert main(line.split()) == 0, line\n"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tmp_path}/site/sublim_eval/tasks\n" in done.stdout


def test_an_editable_install_claims_no_name_but_ours(tmp_path):
    code = (
        "import importlib.util as u; print([n for n in ('tasks', 'distill', 'tests', 'benchmarks') if u.find_spec(n)])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert util.find_spec("sublim_eval.tasks")
    assert util.find_spec("sublim_eval.distill")


def test_every_requirement_has_its_tested_version():
    """constraints.txt pins what pyproject.toml asks for, at a version that it allows, and without a local suffix."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    tested = {re.sub("[-_.]+", "-", n).lower(): v for n, v in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(text for name in extras if name != "vllm" for text in extras[name])]:
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # an extra made of others
            assert wanted.extras <= set(extras)
            continue
        assert wanted.specifier.contains(tested[re.sub("[-_.]+", "-", wanted.name).lower()]), text


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == metadata.version("sublim-eval")
    assert f"[{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
