"""Micro-batches without padding: rows laid end to end, each still a row of its own.

    piece = lay(rows)                     # what all rows begin with once, then every row's own tokens
    with Packed(model) as packed:
        logits = packed.logits(piece)     # at the positions that carry loss, in the order of the rows

No row sees another: attention unpacks queries, keys and values to rows (`rows_attention`, registered in transformers'
AttentionInterface). The tokens that all rows of a piece begin with (system prompt, opening of the template) are
computed once; their gradients are the sum over the rows, as they would be. Work that reaches no loss is left out: the
output layer, and the last layer's queries, attention output and MLP, run at positions that carry loss only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface

from . import fused_lora

IGNORED = -100
"""Label of positions that carry no loss; torch's cross_entropy convention."""

NAME = "sublim_rows"
"""The attention of this module in transformers' interface."""

KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose attention is known to be what `rows_attention` computes."""

Row = Mapping[str, list[int]]


@dataclass(frozen=True)
class Layout:
    """Where rows stand in a piece of T tokens: `shared` tokens once, then `lengths[i]` own tokens of row i.

    Unpacked, row i is a line of `width` places: the shared tokens, its own, and places that nobody looks at.
    spread: int64[rows * width], which token stands at a place. home: int64[T], where a token stands (a shared one in
    the first row). carried: int64[C], the tokens that carry loss.
    """

    shared: int
    lengths: tuple[int, ...]
    spread: torch.Tensor
    home: torch.Tensor
    carried: torch.Tensor

    @property
    def width(self) -> int:
        """Places of a line."""
        return self.shared + max(self.lengths)

    def to(self, device: Any) -> Layout:
        """The same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("spread", "home", "carried")}
        return replace(self, **moved)


@dataclass(frozen=True)
class PackedPiece:
    """Some rows of a batch, as a model reads them at once.

    ids, positions: int64[1, T]. labels: int64[C], the next token wherever one carries loss, row by row. owner:
    int64[C], which row of the piece each belongs to. rows: the numbers of the rows in the data. read: tokens of the
    rows, what they share counted in each.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    owner: torch.Tensor
    layout: Layout
    rows: tuple[int, ...]
    read: int

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""
        return self.ids.shape[1]

    def to(self, device: Any) -> PackedPiece:
        """The same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("ids", "positions", "labels", "owner", "layout")}
        return replace(self, **moved)


def lay(rows: Sequence[Row], numbers: Sequence[int] = (), *, virtual: int = 0, share: bool = True) -> PackedPiece:
    """Lay rows {"input_ids", "labels"} (as long as each other, see train.encode) end to end.

    virtual: so many embeddings of a prompt-tuning adapter stand before every row, and are shared. A row's last token
    predicts nothing, so it is no input.
    """
    common = common_prefix(rows) if share else 0
    ids, positions = list(rows[0]["input_ids"][:common]), list(range(virtual + common))
    labels: list[int] = []
    owner: list[int] = []
    lengths: list[int] = []
    carried: list[int] = []
    for number, row in enumerate(rows):
        own, wanted = row["input_ids"][common:-1], row["labels"][common + 1 :]
        carried += [virtual + len(ids) + i for i, label in enumerate(wanted) if label != IGNORED]
        labels += [label for label in wanted if label != IGNORED]
        owner += [number] * (len(labels) - len(owner))
        ids += own
        positions += range(virtual + common, virtual + common + len(own))
        lengths.append(len(own))
    layout = _layout(virtual + common, tuple(lengths), torch.tensor(carried, dtype=torch.long))
    as_tensor = [torch.tensor(x, dtype=torch.long) for x in (ids, positions, labels, owner)]
    given = tuple(numbers or range(len(rows)))
    read = sum(len(row["input_ids"]) for row in rows)
    return PackedPiece(as_tensor[0][None], as_tensor[1][None], as_tensor[2], as_tensor[3], layout, given, read)


def common_prefix(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with, as far as none of them carries loss and each row keeps one of its own."""
    first = rows[0]["input_ids"]
    most = min(_opening(row["labels"]) for row in rows) - 1
    if len(rows) == 1 or most < 1:
        return 0
    return next((i for i in range(most) if any(row["input_ids"][i] != first[i] for row in rows)), most)


def _opening(labels: Sequence[int]) -> int:
    return next((i for i, label in enumerate(labels) if label != IGNORED), len(labels) - 1)


def _layout(shared: int, lengths: tuple[int, ...], carried: torch.Tensor) -> Layout:
    count, width, own = len(lengths), shared + max(lengths), torch.tensor(lengths)
    starts = shared + torch.cumsum(own, 0) - own
    places = torch.arange(width)
    behind = starts[:, None] + torch.minimum(places[None] - shared, own[:, None] - 1)
    spread = torch.where(places[None] < shared, places[None], behind)
    row = torch.repeat_interleave(torch.arange(count), own)
    inside = torch.arange(len(row)) - (starts - shared)[row]
    home = torch.cat([torch.arange(shared), row * width + shared + inside])
    return Layout(shared, lengths, spread.flatten(), home, carried)


# ---------------------------------------------------------------- attention


class _Spread(torch.autograd.Function):
    """float[T, ...] -> float[rows * width, ...]: every token at its places.

    The gradient is gathered too: no additions in an order of chance, as `index_select` would make on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        return packed.index_select(0, layout.spread)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        layout = ctx.layout
        back = gradient.index_select(0, layout.home)
        if layout.shared:
            lines = gradient.view(len(layout.lengths), layout.width, *gradient.shape[1:])
            back[: layout.shared] = lines[:, : layout.shared].sum(0)
        return back, None


class _Gather(torch.autograd.Function):
    """float[rows * width, ...] -> float[T, ...]: every token from its first place."""

    @staticmethod
    def forward(ctx: Any, lines: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout, ctx.shape = layout, lines.shape
        return lines.index_select(0, layout.home)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.layout.home, gradient), None


def rows_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    rows: Layout | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of every row to itself and what it shares, in transformers' signature.

    query: float[1, heads, T, dim]; key, value: with as many heads or a divisor of it. sliding_window: a token sees so
    many, itself included. Returns float[1, T, heads, dim].
    """
    if rows is None:
        raise ValueError("rows_attention needs the layout of the rows")
    count, width = len(rows.lengths), rows.width

    def lines(packed: torch.Tensor) -> torch.Tensor:
        spread = _Spread.apply(packed[0].transpose(0, 1), rows)
        return spread.view(count, width, *spread.shape[1:]).transpose(1, 2)

    dtype, slow = query.dtype, query.device.type == "cpu" and query.dtype == torch.bfloat16
    query, key, value = lines(query), lines(key), lines(value)
    if slow:  # the fused kernel takes four times as long in bf16 on processor cores
        query, key, value = query.float(), key.float(), value.float()
    mask, groups = None, query.shape[1] // key.shape[1]
    if sliding_window is not None and width > sliding_window:
        far = torch.arange(width, device=query.device)
        mask = (far[None] <= far[:, None]) & (far[None] > far[:, None] - sliding_window)
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    attended = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=mask is None and groups > 1,
    )
    flat = attended.to(dtype).transpose(1, 2).reshape(count * width, *attended.shape[1:2], attended.shape[3])
    return _Gather.apply(flat, rows)[None], None


AttentionInterface.register(NAME, rows_attention)


# ---------------------------------------------------------------- a model that reads pieces


def suits(model: Any) -> bool:
    """Whether a model's attention is one that `rows_attention` computes; what it cannot know `agrees` finds out."""
    text = plain(model).config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or KINDS)
    return (
        kinds <= KINDS
        and getattr(text, "attn_logit_softcapping", None) is None
        and bool(getattr(plain(model), "_supports_attention_backend", False))
    )


def plain(model: Any) -> Any:
    """The transformers model inside an adapter or a launcher's wrapper."""
    inside = getattr(model, "module", model)
    return inside.get_base_model() if hasattr(inside, "get_base_model") else inside


class Packed:
    """Within the block a model reads pieces: its attention is `rows_attention`, and it skips work without loss.

    virtual: float[tokens, hidden] before every row, or those of the model's own prompt-tuning adapter. quick: LoRA
    layers in one step (lora.py), which reads their weights itself and so needs them whole.
    """

    layout = "padding-free"
    attention = "sdpa, row by row"

    def __init__(self, model: Any, virtual: torch.Tensor | None = None, *, quick: bool = True) -> None:
        self.model, self.inner, self.given, self.quick = model, plain(model), virtual, quick
        self._now: Layout | None = None
        self._handles: list[Any] = []
        self._before = ""

    def __enter__(self) -> Packed:
        self._before = self.inner.config._attn_implementation
        self.inner.set_attn_implementation(NAME)
        self._handles = [self.inner.get_output_embeddings().register_forward_pre_hook(self._pick)]
        for part in skippable(self.inner):
            self._handles += [part.register_forward_pre_hook(self._pick), part.register_forward_hook(self._put_back)]
        if self.quick:
            self._handles += fused_lora.quicken(self.model)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.inner.set_attn_implementation(self._before)

    def piece(self, rows: Sequence[Row], numbers: Sequence[int] = ()) -> PackedPiece:
        """Rows as this model reads them, on its device; see `lay`."""
        virtual = virtual_tokens(self.model) if self.given is None else len(self.given)
        return lay(rows, numbers, virtual=virtual).to(next(self.inner.parameters()).device)

    def logits(self, piece: PackedPiece, model: Any = None) -> torch.Tensor:
        """float[C, vocabulary]: next-token logits wherever the piece carries loss, row by row.

        model: the launcher's wrapper around the same model, if there is one. Gradients must be taken before the next
        piece is read: checkpointed layers run again on the way back.
        """
        self._now = piece.layout
        settings: dict[str, Any] = {"position_ids": piece.positions, "use_cache": False, "rows": piece.layout}
        before = virtual_before(self.model, self.given)
        if before is None:
            output = (model or self.model)(input_ids=piece.ids, **settings)
        else:
            embedded = self.inner.get_input_embeddings()(piece.ids)
            output = self.inner(inputs_embeds=torch.cat([before[None].to(embedded.dtype), embedded], 1), **settings)
        return output.logits[0]

    def _pick(self, _: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        assert self._now is not None  # noqa: S101  (set by `logits`)
        hidden, *rest = arguments
        return (hidden.index_select(1, self._now.carried), *rest)

    def _put_back(self, _: nn.Module, __: Any, computed: torch.Tensor) -> torch.Tensor:
        """Zeros where nothing was computed: those places reach no loss."""
        assert self._now is not None  # noqa: S101  (set by `logits`)
        whole = computed.new_zeros(computed.shape[0], len(self._now.home), *computed.shape[2:])
        return whole.index_copy(1, self._now.carried, computed)


def virtual_tokens(model: Any) -> int:
    """How many trained embeddings a prompt-tuning adapter puts before every row; 0 without one."""
    config = getattr(getattr(model, "module", model), "active_peft_config", None)
    return config.num_virtual_tokens if config is not None and config.is_prompt_learning else 0


def virtual_before(model: Any, given: torch.Tensor | None) -> torch.Tensor | None:
    """float[tokens, hidden] that stand before every row: as given, or of the model's adapter, or None."""
    return model.get_prompt(batch_size=1)[0] if given is None and virtual_tokens(model) else given


def skippable(inner: Any) -> list[nn.Module]:
    """Parts of the last layer whose result at one place depends on that place alone: queries, output, dense MLP."""
    stack = inner.get_decoder() if hasattr(inner, "get_decoder") else None
    layers = getattr(stack, "layers", None)
    if not layers:
        return []
    last = layers[-1]
    mlp, attention = getattr(last, "mlp", None), getattr(last, "self_attn", None)
    parts = [getattr(attention, name, None) for name in ("q_proj", "o_proj")]
    dense = mlp is not None and {"gate_proj", "up_proj", "down_proj"} <= {name for name, _ in mlp.named_children()}
    return [part for part in (*parts, mlp if dense else None) if isinstance(part, nn.Module)]


@torch.no_grad()
def agrees(model: Any, rows: Sequence[Row], tolerance: float) -> bool:
    """Whether a model reads rows laid end to end as it reads each alone: mean difference within `tolerance` nats.

    It finds what no list of architectures could: position biases, attention sinks, caches, mixers.
    """
    device = next(model.parameters()).device
    try:
        with Packed(model) as packed:
            piece = packed.piece(rows)
            together = _chances(packed.logits(piece), piece.labels)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        if "out of memory" in str(error):
            raise
        return False
    alone = []
    for row in rows:
        ids, labels = (torch.tensor(row[key], device=device) for key in ("input_ids", "labels"))
        wanted = labels[1:] != IGNORED
        logits = model(input_ids=ids[None, :-1]).logits[0, -len(wanted) :]
        alone.append(_chances(logits[wanted], labels[1:][wanted]))
    return bool((together - torch.cat(alone)).abs().mean() <= tolerance)


def _chances(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.float().log_softmax(-1).gather(1, labels[:, None])[:, 0]
