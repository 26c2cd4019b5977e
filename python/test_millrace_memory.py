"""Tests of millrace_memory.py on the torch at hand: python3 test_millrace_memory.py PROGRAM [ARGUMENT...]

PROGRAM is the millrace command. Prints one line of JSON with what was run.
"""

import ast
import json
import sys
import unittest

import torch

import millrace_memory as mm
from millrace_blocks import selective_context
from millrace_meter import Meter
from millrace_plan import step_peak

COMMAND = sys.argv[1:] or ["millrace"]
# Narrow and long: memory without much arithmetic, since Debian builds torch on a plain BLAS.
WIDTH, LAYERS, ROWS = 8, 6, 1 << 15


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(WIDTH, 2 * WIDTH)
        self.down = torch.nn.Linear(2 * WIDTH, WIDTH)
        self.drop = torch.nn.Dropout(0.1)

    def forward(self, x):
        return x + self.drop(self.down(torch.nn.functional.gelu(self.up(x))))


class Dense(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)

    def forward(self, x):
        return torch.tanh(self.down(torch.nn.functional.silu(self.up(x))))


class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(8, 8, 1, bias=False), torch.nn.BatchNorm2d(8)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(*[Layer() for _ in range(LAYERS)])


def gradients(net, sample):
    net.zero_grad(set_to_none=True)
    torch.manual_seed(7)
    loss = net(sample).square().mean()
    loss.backward()
    return [loss.detach()] + [p.grad.clone() for p in net.parameters()]


class Tests(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.sample = torch.randn(ROWS, WIDTH)

    def test_sizes(self):
        self.assertEqual(mm.parse_bytes("2GiB"), 2 * 2**30)
        self.assertEqual(mm.parse_bytes("1.5 MB"), 1_500_000)
        self.assertEqual(mm.parse_bytes(" 22GiB "), 22 * 2**30)
        for wrong in ("many", "", "-1GiB", "1.2.3GiB", ".GiB", "22 GiB or so", "0", 0, -5, float("nan"), float("inf"), None, True):
            with self.assertRaisesRegex(ValueError, "^budget: .* is no size above 0 such as '22GiB'"):
                mm.parse_bytes(wrong)

    def test_blocks_are_measured(self):
        blocks = mm.measure_blocks(model(), self.sample)
        self.assertEqual([b.name for b in blocks], [str(i) for i in range(LAYERS)])
        for block in blocks:
            self.assertEqual(block.output_bytes, ROWS * WIDTH * 4)
            # Two hidden activations of twice the width, and dropout's mask.
            self.assertGreaterEqual(block.kept_bytes, 2 * ROWS * 2 * WIDTH * 4)
            self.assertGreater(block.forward_seconds, 0)

    def test_plan_is_kept_and_gradients_stay(self):
        net = model()
        expected = gradients(net, self.sample)
        loss = lambda y: y.square().mean()
        everything = mm.auto_checkpoint(net, self.sample, "64GiB", loss=loss, command=COMMAND)
        self.assertEqual(everything.recomputed, [])
        budget = int(0.6 * everything.measured_peak_bytes)
        report = mm.auto_checkpoint(net, self.sample, budget, loss=loss, command=COMMAND)
        self.assertTrue(0 < len(report.recomputed) <= LAYERS)
        self.assertLessEqual(report.predicted_peak_bytes, budget)
        self.assertLessEqual(report.measured_peak_bytes, budget)
        for ours, theirs in zip(gradients(net, self.sample), expected):
            self.assertTrue(torch.equal(ours, theirs))
        mm.remove_plan(net)
        for ours, theirs in zip(gradients(net, self.sample), expected):
            self.assertTrue(torch.equal(ours, theirs))
        Tests.report = report

    def test_predicted_and_measured_peak_agree(self):
        dense = torch.nn.Sequential(*[Dense() for _ in range(5)])
        images = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Sequential(*[Images() for _ in range(5)]))
        loss = lambda y: y.square().mean()
        Tests.agreement = {}
        for name, net, sample, blocks in (
            ("dense", dense, torch.randn(1 << 14, 16), None),
            ("images", images, torch.randn(8, 3, 64, 64), list(images[1])),
        ):
            expected = gradients(net, sample)
            _, peak = mm._step(net, sample, loss, Meter(torch.device("cpu")))
            report = mm.auto_checkpoint(net, sample, int(0.7 * peak), blocks=blocks, loss=loss, command=COMMAND)
            self.assertGreaterEqual(len(report.recomputed), 1)
            self.assertLessEqual(report.measured_peak_bytes, 0.7 * peak)
            Tests.agreement[name] = report.measured_peak_bytes / report.predicted_peak_bytes
            for ours, theirs in zip(gradients(net, sample), expected):
                self.assertTrue(torch.equal(ours, theirs))
            self.assertIn("a plan that PyTorch cannot express would take", str(report))
        for name, ratio in Tests.agreement.items():
            self.assertLess(abs(ratio - 1), 0.05, f"{name}: measured / predicted {ratio}")

    def test_measuring_leaves_no_trace(self):
        net = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.BatchNorm1d(WIDTH), torch.nn.Dropout()) for _ in range(3)])
        statistics, state = [b.clone() for b in net.buffers()], torch.get_rng_state()
        mm.auto_checkpoint(net, self.sample, "64GiB", command=COMMAND)
        self.assertTrue(torch.equal(torch.get_rng_state(), state))
        for buffer, before in zip(net.buffers(), statistics):
            self.assertTrue(torch.equal(buffer, before))
        self.assertTrue(all(p.grad is None for p in net.parameters()))

    def test_wrong_inputs_say_place_value_and_remedy(self):
        small, loss = torch.randn(64, WIDTH), lambda y: y.square().mean()
        plan = lambda net, sample=small, budget="1GiB", **options: mm.auto_checkpoint(net, sample, budget, **options)
        net = model()
        stranger = torch.nn.Linear(WIDTH, WIDTH)
        elsewhere = torch.empty(64, WIDTH, device="meta")
        twice = torch.nn.Sequential(stranger, torch.nn.ReLU(), stranger)
        frozen = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()).requires_grad_(False)
        cases = [
            (ValueError, "^budget: '22 gibi' is no size above 0 such as '22GiB'", lambda: plan(net, budget="22 gibi")),
            (ValueError, "^sample: tensor 0 is on meta, parameter 0.up.weight on cpu: move both", lambda: plan(net, elsewhere)),
            (ValueError, "^loss: it is nan in step 0 of the sample: check", lambda: plan(net, small * float("nan"), loss=loss)),
            (ValueError, "^loss: it gave .* one number is needed: reduce it", lambda: plan(net, loss=lambda y: y)),
            (ValueError, "^model: its output depends on no parameter", lambda: plan(net, loss=lambda y: y.detach().sum())),
            (ValueError, "^model: it has no Sequential or ModuleList.*blocks=", lambda: plan(torch.nn.Linear(WIDTH, 1))),
            (ValueError, "^model: it has no parameter that is trained", lambda: plan(torch.nn.ReLU())),
            (ValueError, "^blocks: number 0 .Linear. is no part of the model", lambda: plan(net, blocks=[stranger])),
            (ValueError, "^blocks: 0 is called more than once", lambda: plan(twice, blocks=[stranger])),
            (RuntimeError, "^command: no-such-millrace cannot be run .*put it on the path", lambda: plan(net, command=["no-such-millrace"])),
            (ValueError, "^recomputed: the model has no module 'x'", lambda: mm.apply_plan(net, ["x"])),
        ]
        frozen_error = (ValueError, "^model: it has no parameter that is trained", lambda: plan(frozen))
        for error, words, work in [*cases, frozen_error]:
            with self.subTest(words), self.assertRaisesRegex(error, words):
                work()
        # Whatever went wrong, the model is as it was.
        self.assertFalse(any(hasattr(module, "_millrace_forward") for module in net.modules()))

    def test_too_small_a_budget_names_the_least(self):
        with self.assertRaisesRegex(RuntimeError, "the least budget is"):
            mm.auto_checkpoint(model(), self.sample, "1MiB", command=COMMAND)

    def test_selective_checkpointing(self):
        if selective_context() is None:
            self.skipTest("selective checkpointing needs torch >= 2.4")
        net = model()
        expected = gradients(net, self.sample)
        names = [str(i) for i in range(LAYERS)]
        mm.apply_plan(net, names, selective=names)
        for ours, theirs in zip(gradients(net, self.sample), expected):
            self.assertTrue(torch.equal(ours, theirs))

    def test_selective_blocks_are_planned(self):
        mib = 2**20
        block = lambda i: mm.Block(f"b{i}", mib, 8 * mib, 0, 1.0, 2.0, 0, selective_bytes=5 * mib, selective_seconds=0.1)
        blocks = [block(i) for i in range(4)]
        peak = step_peak(blocks)
        report = mm.plan_blocks(blocks, peak - 3 * mib, command=COMMAND)
        # Three MiB less: giving up the cheap rest of blocks suffices, and no product is computed twice.
        self.assertEqual(report.selective, report.recomputed)
        self.assertGreaterEqual(len(report.selective), 1)
        self.assertLess(report.predicted_overhead, 0.04)
        tight = mm.plan_blocks(blocks, peak - 20 * mib, command=COMMAND)
        self.assertLess(len(tight.selective), len(tight.recomputed))
        if selective_context() is None:
            self.assertRaises(RuntimeError, mm.apply_plan, model(), ["0"], ["0"])

    def test_jax_text(self):
        names = ["a", "block.1", 'with "quotes" and \\', "\u00e9\U0001f600", "b"]
        for again in ([], ["b"], names):
            text = mm.jax_policy(names, again)
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            # What jax.checkpoint_policies.save_only_these_names takes: texts alone, one by one.
            self.assertEqual([ast.unparse(call.func) for call in calls], ["jax.checkpoint_policies.save_only_these_names"])
            self.assertEqual(calls[0].keywords, [])
            given = [ast.literal_eval(argument) for argument in calls[0].args]
            self.assertEqual(given, [name for name in names if name not in again])
        self.assertRaisesRegex(ValueError, "^recomputed: 'c' is none of the names .*correct it", mm.jax_policy, ["a"], ["c"])
        self.assertRaisesRegex(ValueError, "^names: 3 is no name: give texts", mm.jax_policy, ["a", 3], [])

    def test_jax_takes_the_text(self):
        try:
            import jax
        except ImportError:
            self.skipTest("jax is not installed")
        from jax.ad_checkpoint import checkpoint_name

        def saved(again):
            scope = {}
            exec(mm.jax_policy(["a", "b"], again), scope)

            def step(x):
                y = checkpoint_name(jax.numpy.sin(x), "a")
                return jax.numpy.sin(checkpoint_name(jax.numpy.sin(y), "b")).sum()

            again_step = jax.checkpoint(step, policy=scope["policy"])
            x = jax.numpy.ones(7)
            self.assertTrue((jax.grad(again_step)(x) == jax.grad(step)(x)).all())
            return len(saved_residuals(again_step, x))

        from jax._src.ad_checkpoint import saved_residuals

        self.assertEqual(saved(["b"]), saved(["a", "b"]) + 1)
        self.assertEqual(saved([]), saved(["a", "b"]) + 2)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    report = getattr(Tests, "report", None)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "run": result.testsRun,
                "failed": len(result.failures) + len(result.errors),
                "skipped": [reason for _, reason in result.skipped],
                "recomputed": None if report is None else len(report.recomputed),
                "selective": None if report is None else len(report.selective),
                "measuredToPredicted": getattr(Tests, "agreement", None),
                "overhead": None if report is None else report.measured_overhead,
                "predictedPeakBytes": None if report is None else report.predicted_peak_bytes,
                "measuredPeakBytes": None if report is None else report.measured_peak_bytes,
                "storeAllPeakBytes": None if report is None else report.store_all_peak_bytes,
            }
        )
    )
    sys.exit(0 if result.wasSuccessful() else 1)
