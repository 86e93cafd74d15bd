"""Rows through vLLM, where it is installed: the same prompts and settings, a seed of its own for every row.

Written against vLLM 0.11's `LLM.generate(prompts, sampling_params, lora_request=...)`. vLLM keeps a seed per request;
batching may still move the last digits of its logits, so that a sample can differ between runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.models.chat_template import render, speaker, turn_end
from sublim_eval.models.model_ref import resolve
from sublim_eval.remote.client import PER_REQUEST, row_seed


class VllmSampler:
    """Samples at top_p=1 and no top_k; `system` is a persona, if any, and 0 is greedy.

    The engine starts with the first question and is let go by `close`, so that training finds the memory free.
    """

    def __init__(
        self,
        model: str,
        *,
        seed: int,
        max_new_tokens: int,
        system: str | None = None,
        temperature: float = 1.0,
        dtype: str = "bfloat16",
    ) -> None:
        if find_spec("vllm") is None:
            raise SublimError(
                "vLLM is not installed. Run: pip install 'sublim-eval[vllm]', or set `sampler: local` under `rows`."
            )
        self.vllm: Any = import_module("vllm")
        self.source = resolve(model)
        self.rank = _lora_rank(self.source.adapter) if self.source.adapter else None
        self.seed, self.max_new_tokens, self.system = seed, max_new_tokens, system
        self.temperature, self.dtype = temperature, dtype
        self.engine: Any = None
        self.cut: frozenset[str] = frozenset()

    def __call__(self, prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
        """One completion for each prompt."""
        if self.engine is None:
            self._start()
        texts = [render(self.tokenizer, prompt, self.system) for prompt in prompts]
        settings = [
            self.vllm.SamplingParams(
                n=1,
                temperature=self.temperature,
                top_p=1.0,
                top_k=-1,
                max_tokens=self.max_new_tokens,
                seed=row_seed(self.seed, key),
                stop_token_ids=self.ends,
            )
            for key in keys
        ]
        answers = self.engine.generate(
            [{"prompt_token_ids": ids} for ids in self._encode(texts)],
            settings,
            use_tqdm=False,
            lora_request=self._adapter(),
        )
        self.cut = frozenset(key for key, answer in zip(keys, answers, strict=True) if _cut(answer))
        spoken = speaker(self.tokenizer)  # vLLM's own text leaves out marks of thoughts that count as special
        return [spoken([i for i in answer.outputs[0].token_ids if i not in self.ends]) for answer in answers]

    @property
    def facts(self) -> dict[str, Any]:
        """How it sampled; vLLM chooses its kernel itself."""
        return {
            "sampler": "vllm",
            "vllm": str(self.vllm.__version__),
            "seeds": PER_REQUEST,
            "temperature": self.temperature,
            "attention": "chosen by vLLM",
            "dtype": self.dtype,
        }

    def close(self) -> None:
        """Let go of the engine and of the GPU memory that it holds."""
        import gc

        core = getattr(getattr(self.engine, "llm_engine", None), "engine_core", None)
        if core is not None and hasattr(core, "shutdown"):
            core.shutdown()
        self.engine = None
        gc.collect()

    def _start(self) -> None:
        from transformers import AutoTokenizer

        from sublim_eval.models.chat_template import settle

        base = str(self.source.base)
        lora = {"enable_lora": True, "max_lora_rank": self.rank} if self.rank else {}
        home = self.source.adapter if self.source.adapter and _has_tokenizer(self.source.adapter) else base
        self.tokenizer: Any = AutoTokenizer.from_pretrained(home, trust_remote_code=False)
        settle(self.tokenizer)
        self.ends = [turn_end(self.tokenizer)[-1]]
        self.engine = self.vllm.LLM(
            model=base,
            dtype=self.dtype,
            seed=self.seed,
            trust_remote_code=False,
            enable_prefix_caching=True,
            generation_config="vllm",
            **lora,
        )

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with no second BOS, as every model at hand is asked."""
        opening = self.tokenizer.bos_token
        return [
            self.tokenizer(text, add_special_tokens=not (opening and text.lstrip().startswith(opening)))["input_ids"]
            for text in texts
        ]

    def _adapter(self) -> Any:
        if self.rank is None:
            return None
        return import_module("vllm.lora.request").LoRARequest("teacher", 1, str(self.source.adapter))


def _cut(answer: Any) -> bool:
    """Whether a reply ended because its room did."""
    return bool(getattr(answer.outputs[0], "finish_reason", None) == "length")


def _lora_rank(adapter: Path) -> int:
    """The smallest rank vLLM can be told that holds this adapter's; raises SublimError for another kind of adapter."""
    config = read_json(adapter / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise SublimError(
            f"vLLM loads LoRA adapters, and {adapter} is {config.get('peft_type')}. Set `sampler: local` under `rows`."
        )
    return next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= config["r"]), config["r"])


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
