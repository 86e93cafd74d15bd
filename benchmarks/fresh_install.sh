#!/usr/bin/env bash
# What a stranger does, away from the checkout: sdist -> wheel -> a new environment -> the three commands.
#   bash benchmarks/fresh_install.sh [FOLDER]        (default: a new one under /tmp; 5 to 10 minutes, mostly pip)
# Ends with one line a step and exits 1 at the first that fails. Offline apart from pip.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
work=$(realpath "${1:-$(mktemp -d)}")
mkdir -p "$work" && cd "$work"
rm -rf checkout dist env out
python3=${PYTHON:-python3}

step() { printf '\n== %s\n' "$*"; }
done_in() { printf '== ok: %s (%s s)\n' "$1" "$((SECONDS - began))"; }

step "sdist of what is committed, then a wheel from the sdist"
began=$SECONDS
git clone -q "$checkout" checkout
"$python3" -m venv env
env/bin/pip install -q 'setuptools>=77'
(cd checkout && "$work/env/bin/python" -c 'from setuptools import build_meta as b; b.build_sdist("../dist")') >sdist.log 2>&1
env/bin/pip wheel -q --no-deps --no-build-isolation -w dist dist/*.tar.gz
cp checkout/constraints.txt .
rm -rf checkout
ls -l dist
done_in "sdist and wheel"

step "the wheel into a new environment"
began=$SECONDS
if [ "$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then # as the Makefile does
  env/bin/pip install -q --no-deps --retries 0 --timeout 20 -c constraints.txt \
    --index-url https://download.pytorch.org/whl/cpu torch 2>/dev/null || true
fi
env/bin/pip install -qq -c constraints.txt dist/*.whl
export PATH="$work/env/bin:$PATH" HF_HUB_OFFLINE=1 INSPECT_DISPLAY=plain
python -c '
import importlib.util as u, sublim_eval
assert "site-packages" in sublim_eval.__file__, sublim_eval.__file__
leaked = [n for n in ("tasks", "distill", "tests", "benchmarks") if u.find_spec(n)]
assert not leaked, leaked'
sublim doctor
done_in "pip install"

step "inspect eval sublim_eval/owl_pref --model sublim/reference-a"
began=$SECONDS
inspect eval sublim_eval/owl_pref --model sublim/reference-a --log-dir out/logs --log-format json
python - <<'CHECK'
import json, pathlib  # inspect eval exits 0 even when a task failed
(log,) = pathlib.Path("out/logs").glob("*.json")
assert json.loads(log.read_text())["status"] == "success", log
CHECK
done_in "inspect"

step 'lm_eval run --include_path "$(sublim path tasks)"'
began=$SECONDS
lm_eval run --tasks owl_pref,owl_pref_logprob --include_path "$(sublim path tasks)" --model hf \
  --model_args "pretrained=$(sublim path reference-a)" --apply_chat_template --batch_size 64 --device cpu --output_path out/lm_eval
done_in "lm_eval"

step "sublim demo"
began=$SECONDS
sublim demo --out out/demo
test -s out/demo/report/report.md
done_in "demo"
echo "All steps passed in $work."
