"""The make rules of the experiments without what they start: a stand-in for `stage.py`, and the commands of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
END_TO_END = "recipes/experiments/end_to_end.mk"

# Notes the stage, makes its folder and its record; fails at the stage that the file `fail` names.
STAND_IN = """#!/bin/bash
[[ $2 != --keep && $2 != --show ]] || exit 0
record=$2; name=${record#*/stages/}; name=${name%.json}
echo $name >> ran
out=$(sed -nE 's/.*--(log-dir|output_dir|out) ([^ ]+).*/\\2/p' <<< "$*")
mkdir -p ${out:=nothing} $(dirname $record); [ $name != model ] || touch $out/prepared.json
echo $name >> $out/by; touch ${record%.json}.unfinished
[ "$name" != "$(cat fail 2>/dev/null)" ] || exit 3
echo '{}' > $record; rm ${record%.json}.unfinished
"""


class Tree:
    """A copy of the code in which make runs the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("cpt_tasks", "data_gen", "judges", "model_calls", "rubrics", "recipes"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "python").write_text(STAND_IN)
        (folder / "python").chmod(0o755)
        self.settle()

    def settle(self) -> None:
        """All there is becomes a minute older, so that what changes next is newer on any file system."""
        for path in self.folder.rglob("*"):
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 60 * 10**9))

    def make(self, size: str = "smoke", rules: str = END_TO_END, **variables: str) -> list[str]:
        """Stages that ran, without the reports, which always do."""
        (self.folder / "ran").write_text("")
        given = [f"{name}={value}" for name, value in variables.items()]
        words = ["make", "-f", rules, "RUN=r", f"SIZE={size}", "PYTHON=./python", *given]
        self.done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        self.settle()
        return [name for name in (self.folder / "ran").read_text().split() if not name.endswith("report")]

    def edit(self, path: str) -> None:
        with (self.folder / path).open("a") as file:
            file.write("\n")


def commands(*words: str) -> dict[str, list[str]]:
    """Words of every stage's command, as make would run them."""
    done = subprocess.run(["make", "-nB", "-f", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines() if "experiments/stage.py outputs" in line]
    return {words[2].split("/stages/")[1].removesuffix(".json"): words[3:] for words in lines}


def flags(command: list[str]) -> dict[str, list[str]]:
    parts = " ".join(command[command.index("--config") :]).split("--")[1:]
    return {words[0]: words[1:] for words in map(str.split, parts)}
