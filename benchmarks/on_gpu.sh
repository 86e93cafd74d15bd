#!/usr/bin/env bash
# Everything that needs a GPU, in one command of at most eight minutes on one H200; written for a machine without a
# network, which holds torch, transformers and accelerate. NOT RUN YET: no GPU was at hand when it was written.
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
set -u
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

recipe() { # the recipe $1 on the weights in $2, at the study's size, seeds one after the other
    local name="$1" base="$2"
    [ -f "$HERE/distill/recipes/$name.yaml" ] || { echo "no recipe $name in this checkout"; return 1; }
    sed -e "s#^base: .*#base: $base#" -e "s#^seeds: .*#seeds: [1, 2, 3]#" \
        -e "s#prompts: [0-9]*, keep: [0-9]*#prompts: 30000, keep: 10000#" "$HERE/distill/recipes/$name.yaml" \
        > "/tmp/$name.yaml"
    timeout --signal=INT "$(( $(left) - 15 ))" python3 -m sublim_eval run "/tmp/$name.yaml" --out "/tmp/runs/$name"
    local rc=$?
    mkdir -p "$OUT/runs/$name"
    (cd "/tmp/runs/$name" && find . \( -name '*.json' -o -name '*.jsonl' \) -size -4M -exec cp --parents {} "$OUT/runs/$name" \;)
    return "$rc"
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
    step 60 generation python3 benchmarks/generation.py --device cuda --rounds 1 --rows 1024 --batches 256 512 --continuous 0 --out "$OUT"
    step 75 training python3 benchmarks/training.py --size qwen2.5-7b --rounds 1 --steps 6 --only ours "trl padded" --out "$OUT/training.json"
    step 60 gpu-equals-cpu python3 benchmarks/gpu_equals_cpu.py --seeds 1 --steps 60 --out "$OUT/gpu-equals-cpu.json"
    for sums in "$KEPT"/*.sha256; do
        [ -f "$sums" ] || continue
        name="$(basename "$sums" .sha256)"
        (cd "$KEPT" && sha256sum -c --quiet "$sums" && cat "$name".tar.[0-9][0-9][0-9] | tar -xf -) \
            || { echo "$name: its pieces are not all here, or torn" | tee -a "$OUT/summary.txt"; continue; }
        short="${name/-coder/}"
        step 45 "$short-norms" recipe "$short-norms" "$KEPT/$name"
        step 45 "$short-lora" recipe "$short-lora" "$KEPT/$name"
    done
    cat "$OUT/summary.txt"
}

case "${1:-}" in
    pack) shift; pack "$@" ;;
    take) take "$2" ;;
    run) run ;;
    *) sed -n '2,17p' "$0"; exit 2 ;;
esac
