#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The comparison of scripts/synth.py: what must be reported as drift, and what must not."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import synth  # noqa: E402

BASELINE = {
    "LUT4": 30000,
    "TRELLIS_FF": 20000,
    "CCU2C": 4000,
    "TRELLIS_DPR16X4": 100,
    "DP16KD": 180,
    "MULT18X18D": 150,
}


class Bounds(unittest.TestCase):
    def complaints(self, **changes):
        return synth.compare({**BASELINE, **changes}, BASELINE, 0.03)

    def test_equal_passes(self):
        self.assertEqual(self.complaints(), [])

    def test_drift_within_tolerance_passes(self):
        self.assertEqual(self.complaints(LUT4=30900, TRELLIS_FF=19400), [])

    def test_growth_and_shrinking_beyond_tolerance_are_reported(self):
        self.assertIn("LUT4: 30901", self.complaints(LUT4=30901)[0])
        self.assertIn("TRELLIS_FF: 19399", self.complaints(TRELLIS_FF=19399)[0])

    def test_block_ram_and_multipliers_are_exact(self):
        self.assertIn("DP16KD: 181", self.complaints(DP16KD=181)[0])
        self.assertIn("MULT18X18D: 149", self.complaints(MULT18X18D=149)[0])

    def test_limits_of_the_device_hold_without_a_baseline(self):
        over = {**BASELINE, "DP16KD": 209, "MULT18X18D": 157, "LUT4": 83641}
        text = "\n".join(synth.compare(over, None, 0.03))
        for cell in ("DP16KD", "MULT18X18D", "LUT4"):
            self.assertIn(cell, text)
        self.assertEqual(synth.compare(BASELINE, None, 0.03), [])

    def test_carry_cells_and_lut_ram_count_as_lut_sites(self):
        self.assertIn("LUT sites", synth.compare({**BASELINE, "CCU2C": 27000}, None, 0.03)[0])


if __name__ == "__main__":
    unittest.main()
