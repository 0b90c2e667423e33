# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""gen_contract.py refuses sources that contradict themselves and names the entry."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop() if len(sys.argv) > 1 else ".").resolve()
SPEC = json.loads((ROOT / "contract" / "vision.json").read_text(encoding="utf-8"))
THC = json.loads((ROOT / "contract" / "thc.json").read_text(encoding="utf-8"))
WIRE = json.loads((ROOT / "contract" / "wire.json").read_text(encoding="utf-8"))


def generate(spec, *more, kind="vision"):
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "source.json"
        source.write_text(json.dumps(spec), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "gen_contract.py"), "--kind", kind, "--source",
             str(source), "--out", directory, *more], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr


class Generator(unittest.TestCase):
    def refused(self, change, word, source=SPEC, kind="vision"):
        spec = copy.deepcopy(source)
        change(spec)
        code, text = generate(spec, kind=kind)
        self.assertEqual(code, 1, text)
        self.assertIn(word, text)

    def test_every_configuration(self):
        for name in SPEC["configs"]:
            self.assertEqual(generate(SPEC, "--config", name), (0, ""))

    def test_unknown_configuration(self):
        code, text = generate(SPEC, "--config", "huge")
        self.assertEqual(code, 1)
        self.assertIn("huge", text)

    def test_overlap(self):
        def change(spec):
            spec["descriptors"]["load"][1]["fields"][1]["lsb"] = 31
        self.refused(change, "load[1].beats")

    def test_field_beyond_word(self):
        def change(spec):
            spec["descriptors"]["load"][1]["fields"][1]["width"] = 40
        self.refused(change, "load[1].beats")

    def test_register_offset_twice(self):
        def change(spec):
            spec["registers"][3]["offset"] = spec["registers"][2]["offset"]
        self.refused(change, SPEC["registers"][3]["name"])

    def test_enum_value_twice(self):
        def change(spec):
            spec["enums"]["desc_op"]["LOAD"] = spec["enums"]["desc_op"]["STORE"]
        self.refused(change, "desc_op")

    def test_configuration_not_power_of_two(self):
        def change(spec):
            spec["configs"]["edge"]["lanes"] = 12
        self.refused(change, "lanes")

    def test_wire_field_moved(self):
        def change(spec):
            next(f for f in spec["fields"] if f["name"] == "flags")["offset"] += 1
        self.refused(change, "field flags", WIRE, "wire")

    def test_wire_head_is_one_beat(self):
        def change(spec):
            spec["frame"][0]["bits"] = 40
        self.refused(change, "frame", WIRE, "wire")

    def test_wire_format_without_lanes(self):
        def change(spec):
            del spec["lanes"]["THC_SUM8"]
        self.refused(change, "lanes", WIRE, "wire")

    def test_thc_window_too_small(self):
        def change(spec):
            spec["windows"][2]["words"] = 512
        self.refused(change, "NORM", THC, "thc")

    def test_thc_windows_overlap(self):
        def change(spec):
            spec["windows"][1]["offset"] = 0x120
        self.refused(change, "COUNT", THC, "thc")

    def test_thc_size_does_not_fit_its_register(self):
        def change(spec):
            spec["config"]["lanes"]["value"] = 256
        self.refused(change, "CONFIG.lanes", THC, "thc")


if __name__ == "__main__":
    unittest.main()
