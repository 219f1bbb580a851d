"""The shards of a plan on the nodes of a cluster; see ``deepcut_vision.ray``, which gives this."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import Any, Optional

import ray

from ._errors import InputOutputError, InterruptedRun, MissingFileError, UntrustedError, UsageError
from ._options import PathLike
from ._program import run_program
from ._progress import Progress, listener

#: What another try may mend: a program that was stopped, a disk that was full on one node.
_PASSING = [InterruptedRun, InputOutputError]
_log = logging.getLogger("deepcut_vision")


def run_plan(
    plan: PathLike,
    out: PathLike,
    arguments: Sequence[Any] = (),
    *,
    command: str = "infer",
    num_cpus: int = 1,
    num_gpus: float = 0,
    max_retries: int = 3,
    max_bad: float = 0.5,
    merge: bool = True,
    program: Optional[str] = None,
    progress: Progress = None,
) -> dict[str, Any]:
    """Does all shards of a plan on the nodes of the cluster, and merges them: the same files, to the byte, as one run of the program.

    ``plan`` is what ``deepcut plan`` wrote, ``command`` is ``"infer"``, ``"segment"`` or ``"features"``, ``arguments`` are the further
    ones of that command, ``["--ckpt", "best.safetensors", "--save", "masks,coco"]``, and ``out`` is its ``--out``. Every shard is a task
    on ``num_cpus`` processors, which are the program's threads, and ``num_gpus`` GPUs. It runs the program: that of the node's wheel
    unless ``program`` names another. All nodes must see the collection, the plan and ``out`` under the same paths; relative ones are
    those of the working folder here.

    Where a node is lost, or a program stopped, the shards that were running there are done again, each at most ``max_retries`` times;
    those that are finished stay so, also for another call with the same arguments. With ``merge=False`` shards stay by themselves, and
    ``max_bad``, the share of bad images that the merge accepts, says nothing.

    ``progress`` is told ``phase_progress`` by shards. Gives what the program says with ``--json``: ``{"shards": [of each], "merged": …}``.

    Raises ``UsageError``, ``UntrustedError`` or ``InputOutputError`` with the shard's number as the program would end on it,
    ``MissingFileError`` without a plan, ``InterruptedRun`` for a shard that was lost again and again.
    """
    folder, plan, out = os.getcwd(), os.path.abspath(plan), os.path.abspath(out)
    count = _count(plan)
    if command not in ("infer", "segment", "features"):
        raise UsageError(f'`command` is "infer", "segment" or "features", not {command!r}')
    if not isinstance(num_cpus, int) or num_cpus < 1:
        raise UsageError(f"`num_cpus` is a number of threads from 1 on, not {num_cpus!r}")
    whole = [command, *map(str, arguments), "--plan", plan, "--out", out, "--threads", str(num_cpus)]
    again = {"max_retries": max_retries, "retry_exceptions": _PASSING}
    task = ray.remote(run_program)
    # Else shards next to each other are begun on one node.
    spread = task.options(num_cpus=num_cpus, num_gpus=num_gpus, scheduling_strategy="SPREAD", **again)
    running = {spread.remote(program, [*whole, "--shard", str(shard)], folder): shard for shard in range(count)}
    summaries: list[Any] = [None] * count
    with listener(progress) as listen:
        listen({"kind": "phase_started", "phase": "shards", "total": count})
        try:
            while running:
                (ended,), _ = ray.wait(list(running), num_returns=1)
                shard = running.pop(ended)
                summaries[shard] = _result(ended, f"shard {shard} of {count}")
                listen({"kind": "phase_progress", "phase": "shards", "done": count - len(running)})
        finally:
            for task_left in running:
                ray.cancel(task_left, force=True)
        listen({"kind": "phase_finished", "phase": "shards"})
    merged = None
    if merge:
        joining = ["merge", out, "--plan", plan, "--max-bad", repr(max_bad)]
        merged = _result(task.options(**again).remote(program, joining, folder), "the merge")
    return {"shards": summaries, "merged": merged}


def _count(plan: str) -> int:
    """The number of shards of a plan; everything else about it is the program's business."""
    try:
        with open(plan, encoding="utf-8") as file:
            return len(json.load(file)["shards"])
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no plan {plan}; make one with `deepcut plan`") from error
    except OSError as error:
        raise InputOutputError(f"cannot read the plan {plan}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UntrustedError(f"{plan} is no plan of shards; make one with `deepcut plan`") from error


def _result(task: ray.ObjectRef, what: str) -> dict[str, Any]:
    """What a task said; its warnings go to the log."""
    try:
        summary, warnings = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, (UsageError, UntrustedError, InputOutputError, InterruptedRun)):
            raise
        raise type(cause)(f"{what}: {cause}") from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise InterruptedRun(f"{what} was lost with its node, also when it was done again: {error}; run the plan again") from error
    if warnings:
        _log.warning("%s: %s", what, warnings)
    return summary
