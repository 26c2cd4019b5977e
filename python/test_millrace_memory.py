"""Tests of millrace_memory.py on the torch at hand: python3 test_millrace_memory.py PROGRAM [ARGUMENT...]

PROGRAM is the millrace command. Prints one line of JSON with what was run.
"""

import json
import sys
import unittest

import torch

import millrace_memory as mm

COMMAND = sys.argv[1:] or ["millrace"]
# Narrow and long: memory without much arithmetic, since Debian builds torch on a plain BLAS.
WIDTH, LAYERS, ROWS = 8, 6, 1 << 16


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(WIDTH, 2 * WIDTH)
        self.down = torch.nn.Linear(2 * WIDTH, WIDTH)
        self.drop = torch.nn.Dropout(0.1)

    def forward(self, x):
        return x + self.drop(self.down(torch.nn.functional.gelu(self.up(x))))


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
        self.assertRaises(ValueError, mm.parse_bytes, "many")

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

    def test_too_small_a_budget_names_the_least(self):
        with self.assertRaisesRegex(RuntimeError, "the least budget is"):
            mm.auto_checkpoint(model(), self.sample, "1MiB", command=COMMAND)

    def test_selective_checkpointing(self):
        if mm._selective_context() is None:
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
        peak = mm.store_all_peak(blocks, 0)
        report = mm.plan_blocks(blocks, peak - 3 * mib, command=COMMAND)
        # Three MiB less: giving up the cheap rest of blocks suffices, and no product is computed twice.
        self.assertEqual(report.selective, report.recomputed)
        self.assertGreaterEqual(len(report.selective), 1)
        self.assertLess(report.predicted_overhead, 0.04)
        tight = mm.plan_blocks(blocks, peak - 20 * mib, command=COMMAND)
        self.assertLess(len(tight.selective), len(tight.recomputed))
        if mm._selective_context() is None:
            self.assertRaises(RuntimeError, mm.apply_plan, model(), ["0"], ["0"])

    def test_jax_text(self):
        text = mm.jax_policy(["a", "b", "c"], ["b"])
        self.assertIn('save_only_these_names("a", "c")', text)
        compile(text, "policy", "exec")


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
                "overhead": None if report is None else report.measured_overhead,
                "predictedPeakBytes": None if report is None else report.predicted_peak_bytes,
                "measuredPeakBytes": None if report is None else report.measured_peak_bytes,
                "storeAllPeakBytes": None if report is None else report.store_all_peak_bytes,
            }
        )
    )
    sys.exit(0 if result.wasSuccessful() else 1)
