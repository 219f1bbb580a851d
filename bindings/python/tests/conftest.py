"""What the tests share: the repository's pictures, the program, models trained once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

# Weights that this machine's user may have installed must not decide what is tested.
os.environ.update(DEEPCUT_HOME="/nonexistent", HF_HOME="/nonexistent")
for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(name, None)

import deepcut_vision  # noqa: E402  (after the environment that it reads)

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGES = REPOSITORY / "demonstration" / "images"
CHECKPOINT = REPOSITORY / "checkpoints" / "demonstration.safetensors"
TINY_WEIGHTS = REPOSITORY / "tests" / "golden" / "tiny_vit.pth"
#: A complete transformer in small, for those weights.
TINY = {"vit.input_side": 32, "vit.head_width": 4, "vit.facet": "token", "train.epochs": 10}


def find_program() -> str:
    """The wheel's program, or the one that was built beside a module in place."""
    beside = shutil.which("deepcut", path=str(Path(sys.executable).parent))
    built = [REPOSITORY / "target" / profile / "deepcut" for profile in ("release", "debug")]
    found = [path for path in [os.environ.get("DEEPCUT_PROGRAM"), beside, *map(str, built)] if path and Path(path).exists()]
    if not found:
        pytest.skip("there is no program to compare with: install the wheel, build it, or set DEEPCUT_PROGRAM")
    return found[0]


def wait_for(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "what was waited for did not happen"
        time.sleep(0.02)


def is_over(pid):
    """Whether a process has ended, also where nobody has asked for its exit code yet (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(scope="session")
def program():
    path = find_program()

    def run(*arguments, code=0):
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def model():
    return deepcut_vision.Model.load(CHECKPOINT)


@pytest.fixture(scope="session")
def pictures():
    return sorted(IMAGES.iterdir())


@pytest.fixture(scope="session")
def photograph(pictures):
    """``[height, width, 3]``"""
    from PIL import Image

    with Image.open(pictures[0]) as image:
        return np.array(image.convert("RGB"))
