"""Which blocks to compute again: the planning problem that torch.utils.checkpoint can express, given to `millrace memory
plan`, and the plan that comes back."""

import dataclasses
import json
import os
import subprocess
import tempfile


@dataclasses.dataclass
class Report:
    """A plan that was applied. Times and bytes are of one step; `measured_*` are None before verification."""

    budget_bytes: int
    recomputed: list
    # Of them, those that keep products and convolutions.
    selective: list
    target: str
    predicted_peak_bytes: int
    predicted_overhead: float
    unrestricted_overhead: float
    lower_bound_overhead: float
    store_all_peak_bytes: int
    measured_peak_bytes: int = None
    measured_seconds: float = None
    measured_overhead: float = None

    def __str__(self):
        mib = lambda n: f"{n / 2**20:.1f} MiB"
        lines = [
            f"budget {mib(self.budget_bytes)}: {len(self.recomputed)} blocks are computed again, "
            f"{len(self.selective)} of them in part ({self.target})",
            f"predicted peak {mib(self.predicted_peak_bytes)} instead of {mib(self.store_all_peak_bytes)}, "
            f"{100 * self.predicted_overhead:.1f} % more time",
            f"a plan that PyTorch cannot express would take {100 * self.unrestricted_overhead:.1f} % more time",
        ]
        if self.measured_peak_bytes is not None:
            lines.append(
                f"measured peak {mib(self.measured_peak_bytes)}, {100 * self.measured_overhead:.1f} % more time"
            )
        return "\n".join(lines)


def _problem(blocks, fixed, rest_seconds, free_outputs):
    """The planning problem: block j makes its output and, as auxiliary tensor, what its backward pass needs.

    A block that was measured under selective checkpointing is two operators in a row: its products, whose results are one
    auxiliary tensor, and the rest. With `free_outputs` outputs may be given up and computed again too, which PyTorch's
    checkpoint cannot do block by block; without it they are part of what is fixed, and gradients are counted as workspace.
    Gives the problem and, by operator, the block and which part of it.
    """
    ops = []
    parts = []
    resident = 0 if free_outputs else sum(b.output_bytes for b in blocks)
    source = -1
    for j, b in enumerate(blocks):
        before = blocks[j - 1].output_bytes if j > 0 else 0
        gradients = 0 if free_outputs else b.output_bytes + before
        # A block computed again has its output twice, and its output's gradient is there; measured, as it was alone.
        again = max(b.again_peak_bytes, b.selective_bytes + b.selective_peak_bytes if b.splits else 0)
        last_ws = max(b.forward_bytes, 0 if free_outputs else again + b.output_bytes - b.kept_bytes)
        split = not free_outputs and b.splits
        light = min(b.selective_seconds, b.forward_seconds)
        pieces = (
            [
                ("products", b.forward_seconds - light, b.whole_seconds - b.selective_seconds, b.selective_bytes),
                ("rest", light, b.selective_seconds, b.kept_bytes - b.selective_bytes),
            ]
            if split
            else [("whole", b.forward_seconds, b.whole_seconds, b.kept_bytes)]
        )
        needs = [f"o{source}"] if source >= 0 else []
        for i, (part, seconds, more, kept) in enumerate(pieces):
            last = i == len(pieces) - 1
            at = len(ops)
            parts.append((j, part))
            # The last part's backward pass is the block's: it needs what every part keeps.
            needs = needs + [f"a{at}"]
            ops.append(
                {
                    "name": b.name if part == "whole" else f"{b.name}, {part}",
                    "inputs": [source] if source >= 0 else [],
                    "out": b.output_bytes if free_outputs and last else 0,
                    "fwd": [{"t": seconds, "again": more, "ws": last_ws if last else b.forward_bytes, "aux": kept}],
                    "bwd": [
                        {"t": b.backward_seconds, "ws": b.workspace_bytes + gradients, "need": needs}
                        if last
                        else {"t": 0, "ws": 0, "need": []}
                    ],
                    "pg": b.parameter_bytes if last else 0,
                }
            )
            source = at
    ops.append(
        {
            "name": "rest",
            "inputs": [source],
            "out": 0,
            "fwd": [{"t": rest_seconds, "ws": 0}],
            "bwd": [{"t": 0, "ws": 0, "need": []}],
            "pg": 0,
        }
    )
    return {"fixed": max(0, fixed + resident), "ops": ops}, parts


def _millrace(problem, name, budget, command):
    case = {"format": "millrace.remat-cases/1", "cases": [{"name": name, "problem": {"name": name, "budget": budget, **problem}}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as file:
        json.dump(case, file)
    try:
        line = [*command, "memory", "plan", file.name, "--case", name, "--budget", str(int(budget)), "--effort", "low", "--json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(
            f"command: {command[0]} cannot be run ({error.strerror}): put it on the path, or pass command=[...]"
        ) from None
    finally:
        os.unlink(file.name)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"millrace memory plan failed: {done.stderr.strip() or done.stdout.strip()}") from None
    return answer


def step_peak(blocks, fixed=0, recomputed=(), selective=()):
    """Bytes of peak of a step in which the named blocks are computed again: all outputs, what the blocks before keep inside,
    and what the block at work takes. Everything is kept by default."""
    held = [b.kept_bytes if b.name not in recomputed else b.selective_bytes if b.name in selective else 0 for b in blocks]
    peak = 0
    for j, b in enumerate(blocks):
        before = blocks[j - 1].output_bytes if j > 0 else 0
        alone = b.kept_bytes + b.parameter_bytes + before + b.workspace_bytes
        if b.name in selective:
            alone = b.selective_bytes + b.selective_peak_bytes if b.selective_peak_bytes else alone
        elif b.name in recomputed:
            alone = b.again_peak_bytes or alone
        later = sum(c.parameter_bytes for c in blocks[j + 1 :])
        peak = max(peak, sum(held[:j]) + later + b.output_bytes + alone)
    return fixed + sum(b.output_bytes for b in blocks) + peak


def _forms(plan, parts):
    """Of a plan of the planner: the blocks that do not keep everything, each with its form."""
    first_backward = next(i for i, action in enumerate(plan) if action[0] == "b")
    given_up = {}
    for action in plan[:first_backward]:
        if action[0] == "x" and action[1].startswith("a"):
            j, part = parts[int(action[1][1:])]
            given_up.setdefault(j, set()).add(part)
    # Without its products a block is computed again as a whole: PyTorch cannot keep the rest alone.
    return {j: "selective" if given_up[j] == {"rest"} else "again" for j in given_up}


def _named(blocks, forms):
    again = [blocks[j].name for j in sorted(forms)]
    return again, [blocks[j].name for j in sorted(forms) if forms[j] == "selective"]


def _extra_seconds(blocks, forms):
    return sum(blocks[j].selective_seconds if form == "selective" else blocks[j].whole_seconds for j, form in forms.items())


def _lifted(blocks, forms, budget, fixed):
    """The plan with blocks that keep more wherever the budget lets them, the most time saved first."""
    while True:
        tried = [{k: f for k, f in forms.items() if k != j} for j in forms]
        tried += [{**forms, j: "selective"} for j, form in forms.items() if form == "again" and blocks[j].splits]
        fitting = [t for t in tried if step_peak(blocks, fixed, *_named(blocks, t)) <= budget]
        best = min(fitting, key=lambda t: _extra_seconds(blocks, t), default=forms)
        if _extra_seconds(blocks, best) >= _extra_seconds(blocks, forms):
            return forms
        forms = best


def plan_blocks(blocks, budget, fixed=0, rest_seconds=0.0, command=("millrace",)):
    """Plans which blocks to compute again within `budget` bytes. Raises RuntimeError naming the least budget."""
    everything = sum(b.forward_seconds + b.backward_seconds for b in blocks) + rest_seconds
    # With products as a choice the planner may give up them alone, which PyTorch cannot: that is a bound on what it can. The
    # same blocks without the choice are planned too, and the better plan stands once each is made as fast as its budget lets it.
    splits = any(b.splits for b in blocks)
    variants = [blocks, [dataclasses.replace(b, selective_bytes=0) for b in blocks]] if splits else [blocks]
    answers = []
    for variant in variants:
        problem, parts = _problem(variant, fixed, rest_seconds, False)
        answers.append((_millrace(problem, "blocks", budget, command), parts))
    plans = [_lifted(blocks, _forms(answer["plan"], parts), budget, fixed) for answer, parts in answers if answer["feasible"]]
    if not plans:
        least = min((a["minBudget"] for a, _ in answers if a.get("minBudget") is not None), default=None)
        raise RuntimeError(f"budget: no plan fits {int(budget)} bytes; the least budget is {least} bytes")
    forms = min(plans, key=lambda plan: _extra_seconds(blocks, plan))
    again, selective = _named(blocks, forms)
    bound = answers[0][0].get("lowerBound")
    overhead = lambda time: time / everything - 1
    # Where nothing is computed again no plan can be faster: the free one needs no search.
    free = {"feasible": True, "time": everything}
    if again:
        free = _millrace(_problem(blocks, fixed, rest_seconds, True)[0], "free", budget, command)
    return Report(
        budget_bytes=int(budget),
        recomputed=again,
        selective=selective,
        target="torch.utils.checkpoint",
        predicted_peak_bytes=int(step_peak(blocks, fixed, again, selective)),
        predicted_overhead=overhead(everything + _extra_seconds(blocks, forms)),
        unrestricted_overhead=overhead(free["time"]) if free["feasible"] else float("nan"),
        lower_bound_overhead=overhead(bound) if bound is not None else float("nan"),
        store_all_peak_bytes=step_peak(blocks, fixed),
    )
