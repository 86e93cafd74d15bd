"""What every test may rely on: no network, no registry of the user's own, one thread a process."""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", INSPECT_DISPLAY="none", OMP_NUM_THREADS="1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for name in ("SUBLIM_REGISTRY", "INSPECT_EVAL_MODEL"):
    os.environ.pop(name, None)
