#!/usr/bin/env bash
# Every Eval Ever's own command line over an export of ours: it has gates that its schema files have not.
#
#     bash benchmarks/eee_cli.sh PYTHON3.12 DIR...     DIR: anything `sublim export` reads
#
# Needs Python 3.12 or newer and the package index; installs into an environment of its own, which ours never sees.
set -euo pipefail
python=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet every-eval-ever==0.3.0
"$here/.venv/bin/sublim" export "$@" --to eee --owner mylab --samples --out "$work/out"
cd "$work/out"
find data -type f -print0 | xargs -0 "$work/env/bin/python" -m every_eval_ever validate
