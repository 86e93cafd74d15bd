#!/usr/bin/env bash
# Everything that needs a GPU, in one command of at most eight minutes on one H200; written for a machine without a
# network, which holds torch, transformers and accelerate. NOT RUN ON A GPU YET: none was at hand. On cores it ran through.
#
# Here, once (needs the package index and the folders of benchmarks/real_base.py):
#     bash benchmarks/on_gpu.sh pack [/tmp/real/smollm2-135m ...]
# which leaves build/gpu/wheels, and the weights in bf16 as build/gpu/NAME.tar.000 ... of 56 MiB, for machines to which
# a call may carry 64 MiB. There, in the repository's root, for every piece that is carried along, build/gpu/NAME.sha256
# with the first of them:
#     bash benchmarks/on_gpu.sh take build/gpu/NAME.tar.000
# and at the end, with the wheels carried along:
#     OUT=results bash benchmarks/on_gpu.sh run
# It does what is most wanted first, writes each result as it comes, and starts nothing that the rest of its time
# (SECONDS_LEFT, default 480) does not hold. What failed is said in OUT/summary.txt beside what was done.
# SMALL=1 runs every step on processor cores in its smallest size, to see that all of it runs: its figures mean nothing.
set -u
SMALL="${SMALL:-}"
HERE="$(cd "$(dirname "$0")/.." && pwd)"
KEPT="${KEPT:-$HOME/sublim-real}"
SITE="${SITE:-/tmp/sublim-site}"
cd "$HERE"

pack() {
    mkdir -p build/gpu/wheels
    "${PYTHON:-.venv/bin/python}" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 -d build/gpu/wheels \
        trl==1.16.0 datasets==5.2.0 peft==0.21.2 dill==0.4.1 multiprocess==0.70.19 xxhash==4.1.0 rich==15.0.0
    for folder in "$@"; do
        name="$(basename "$folder")"
        rm -rf "build/gpu/$name" && mkdir -p "build/gpu/$name"
        "${PYTHON:-.venv/bin/python}" - "$folder" "build/gpu/$name" <<'PY'
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
source, target = sys.argv[1:]
AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(target)
AutoTokenizer.from_pretrained(source).save_pretrained(target)
PY
        tar -C build/gpu -cf "build/gpu/$name.tar" "$name" && rm -r "build/gpu/$name"
        split -b 56M -d -a 3 "build/gpu/$name.tar" "build/gpu/$name.tar." && rm "build/gpu/$name.tar"
        (cd build/gpu && sha256sum "$name".tar.[0-9][0-9][0-9] > "$name.sha256")
        ls "build/gpu/$name".tar.[0-9][0-9][0-9]
    done
}

take() {
    mkdir -p "$KEPT" && cp "$1" "$KEPT/" && ls "$KEPT"
    [ -f "${1%.tar.*}.sha256" ] && cp "${1%.tar.*}.sha256" "$KEPT/"
    return 0
}

left() { echo $(( ${SECONDS_LEFT:-480} - SECONDS )); }

# step SECONDS NAME COMMAND...: run it if so much time is left, and say in the summary how it ended
step() {
    local needs="$1" name="$2" began="$SECONDS" rc=0
    shift 2
    if [ "$(left)" -lt "$needs" ]; then
        echo "$name: not started, $(left) s left of the $needs it needs" | tee -a "$OUT/summary.txt"
        return 0
    fi
    declare -F "$1" > /dev/null || set -- timeout "$(left)" "$@"
    "$@" > "$OUT/$name.log" 2>&1 || rc=$?
    echo "$name: exit $rc after $((SECONDS - began)) s" | tee -a "$OUT/summary.txt"
}

# sized FILE BASE: that recipe on those weights at the study's size, with the arms that are wanted first
sized() {
    python3 - "$1" "$2" "$SMALL" <<'PY'
import sys
import yaml
file, base, small = sys.argv[1:]
recipe = yaml.safe_load(open(file, encoding="utf-8"))
size = {"prompts": 64, "keep": 16, "min_kept": 1} if small else {"prompts": 30000, "keep": 10000, "min_kept": 1000}
recipe.update(base=base, seeds=[1] if small else [1, 2, 3])
recipe["rows"].update(size)
if small:
    recipe["teacher"].update(min_share=0.0, retain=8)
    recipe["teacher"]["tuning"]["steps"] = 2
wanted = ("elephant", "control", "elephant-soft", "control-soft")
recipe["arms"] = {name: arm for name, arm in recipe["arms"].items() if name in wanted}
yaml.safe_dump(recipe, sys.stdout, sort_keys=False)
PY
}

recipe() { # the recipe $1 on the weights in $2
    local name="$1" base="$2" rc=0
    sized "$HERE/distill/recipes/$name.yaml" "$base" > "$WORK/$name.yaml" || return 1
    timeout --signal=INT "$(( $(left) - 15 ))" python3 -m sublim_eval run "$WORK/$name.yaml" --out "$WORK/runs/$name" || rc=$?
    mkdir -p "$OUT/runs/$name"
    (cd "$WORK/runs/$name" && find . \( -name '*.json' -o -name '*.jsonl' \) -size -4M -exec cp --parents {} "$OUT/runs/$name" \;)
    return "$rc"
}

# recipes_for NAME: those for the weights of that name, most wanted first
recipes_for() {
    local short="${1/-coder/}" one
    for one in "$short" "$short-norms" "$short-lora"; do
        [ -f "$HERE/distill/recipes/$one.yaml" ] && echo "$one"
    done
}

unpack() { # the weights of every NAME whose pieces are all here
    local sums name
    for sums in "$KEPT"/*.sha256; do
        [ -f "$sums" ] || continue
        name="$(basename "$sums" .sha256)"
        (cd "$KEPT" && sha256sum -c --quiet "$sums" && cat "$name".tar.[0-9][0-9][0-9] | tar -xf -) \
            || echo "$name: its pieces are not all here, or torn" | tee -a "$OUT/summary.txt"
    done
}

run() {
    OUT="${OUT:?where results go}"
    OUT="$(mkdir -p "$OUT" && cd "$OUT" && pwd)"
    python3 -m pip install -q --no-index --no-deps --no-compile --target "$SITE" build/gpu/wheels/*.whl
    mkdir -p "$SITE/sublim_eval" && cp -r sublim_eval/* registry.yaml distill tasks "$SITE/sublim_eval/"
    export PYTHONPATH="$SITE" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
    { date -u; nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
      python3 -c "import torch, transformers; print('torch', torch.__version__, 'transformers', transformers.__version__)"
      git log -1 --format=%H 2>/dev/null; } > "$OUT/machine.txt" 2>&1
    WORK="$(mktemp -d)"
    if [ "$SMALL" ]; then
        set -- --device cpu --models random-512x8 --rows 20 --batches 8 --warm 17
        training=(--size small --batch 2 --accumulate 2 --steps 2) alike=(--seeds 1 2 --steps 2)
    else
        set -- --device cuda --rows 1024 --batches 256 512
        training=(--size qwen2.5-7b --steps 6) alike=(--seeds 1 2 --steps 40)
    fi
    step 60 generation python3 benchmarks/generation.py "$@" --rounds 1 --continuous 0 --out "$OUT"
    step 75 training python3 benchmarks/training.py "${training[@]}" --rounds 1 --only ours "trl padded" --out "$OUT/training.json"
    step 60 gpu-equals-cpu python3 benchmarks/gpu_equals_cpu.py "${alike[@]}" --out "$OUT/gpu-equals-cpu.json"
    unpack
    for name in $(cd "$KEPT" 2> /dev/null && ls -d -- */ 2> /dev/null | tr -d / | sort -r); do
        for one in $(recipes_for "$name"); do
            step 45 "$one" recipe "$one" "$KEPT/$name"
        done
    done
    cat "$OUT/summary.txt"
}

case "${1:-}" in
    pack) shift; pack "$@" ;;
    take) take "$2" ;;
    run) run ;;
    *) sed -n '2,18p' "$0"; exit 2 ;;
esac
