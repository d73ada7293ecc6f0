"""What a preference data set says of itself: `manifest.json`, and `README.md`, the dataset card of the hub.

Both hold no time and no path of a machine: the same input and seed give the same bytes everywhere. The card's header
names the files, so that `datasets.load_dataset(FOLDER)` finds them.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from data_gen.pairing.preference_rows import PreferenceRow

CARD = "README.md"
MANIFEST = "manifest.json"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass
class Count:
    """Twins of one kind, and the sums of their two scores by `rubric`: of the lower level and of the higher."""

    twins: int = 0
    lower: float = 0.0
    higher: float = 0.0


class Tally:
    """Counts twins while their rows pass by.

    Attributes:
        counts: By (file, rubric, level pair, teacher), in the order of the rows. Compositions have two rubrics joined
            by " + ", and no level pair.
        rubrics: Ids of all rubrics asked for.
        teachers: Who wrote the responses.
    """

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[str, str, str, str], Count] = defaultdict(Count)
        self.rubrics: set[str] = set()
        self.teachers: set[str] = set()

    def passing(self, file: str, rows: Iterable[PreferenceRow]) -> Iterator[PreferenceRow]:
        """The rows as they come; the first half of a twin is counted, and chooses the response of the lower level."""
        for number, row in enumerate(rows):
            if number % 2 == 0:
                count = self.counts[file, *_kind(row)]
                count.twins += 1
                count.lower += row.score_chosen
                count.higher += row.score_rejected
                self.rubrics.update(name for name in (row.rubric, row.with_rubric) if name)
                self.teachers.update(name for name in (row.teacher, row.rejected_teacher) if name)
            yield row

    def twins(self, file: str) -> int:
        """Twins in a file."""
        return sum(count.twins for key, count in self.counts.items() if key[0] == file)

    def table(self) -> list[dict[str, Any]]:
        """One entry for each rubric, level pair and teacher, in the order of the rows.

        Each has `rubric, levels, teacher`, `twins` by file, and of single rubrics the means over all files, in score
        points, `mean_lower, mean_higher, mean_gap`.
        """
        kinds: dict[tuple[str, str, str], dict[str, Count]] = defaultdict(dict)
        for (file, *kind), count in self.counts.items():
            rubric, levels, teacher = kind
            kinds[rubric, levels, teacher][file] = count
        return [_entry(*kind, by_file) for kind, by_file in kinds.items()]


def _kind(row: PreferenceRow) -> tuple[str, str, str]:
    teacher = row.teacher
    if row.rejected_teacher not in (None, row.teacher):
        teacher = " + ".join(sorted([row.teacher, str(row.rejected_teacher)]))
    if row.with_rubric:
        return f"{row.rubric} + {row.with_rubric}", "", teacher
    return row.rubric, f"{row.level}:{row.rejected_level}", teacher


def _entry(rubric: str, levels: str, teacher: str, by_file: Mapping[str, Count]) -> dict[str, Any]:
    twins = {file: count.twins for file, count in by_file.items()}
    entry: dict[str, Any] = {"rubric": rubric, "levels": levels, "teacher": teacher, "twins": twins}
    if levels:
        total = sum(twins.values())
        lower = sum(count.lower for count in by_file.values()) / total
        higher = sum(count.higher for count in by_file.values()) / total
        entry |= {"mean_lower": round(lower, 2), "mean_higher": round(higher, 2), "mean_gap": round(higher - lower, 2)}
    return entry


@dataclass(frozen=True)
class Manifest:
    """What is known of a data set.

    Attributes:
        command: That made it, with the names of files but not their folders.
        seed: Of every draw.
        licence: For the header, as the hub writes licences.
        inputs: Name, sha256 and rows of each input file; rows are lines, and None where a file is packed.
        files: Sha256, rows and twins by file.
        twins: `Tally.table`.
        teachers: Who wrote the responses.
        judges: Who scored them.
        rubrics: Hash, licence and source by id.
        skipped: Rows of the inputs that may not train, by reason.
        left_out: Anything else that was in the inputs and is in no file: what, and how much of it.
        verification: `verification.json` of each input that has one: `in`, `kept`, `dropped` by reason.
    """

    command: str
    seed: int
    licence: str
    inputs: list[dict[str, Any]]
    files: dict[str, dict[str, Any]]
    twins: list[dict[str, Any]]
    teachers: list[str]
    judges: list[str]
    rubrics: dict[str, dict[str, str]]
    skipped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    verification: list[dict[str, Any]] = field(default_factory=list)


def write_card(folder: Path, manifest: Manifest) -> None:
    """Writes card and manifest into the folder of the files."""
    content = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(f"{content}\n", encoding="utf-8", newline="\n")
    (folder / CARD).write_text(render_card(manifest), encoding="utf-8", newline="\n")


def render_card(manifest: Manifest) -> str:
    """The dataset card, in Markdown with a YAML header."""
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{header}---", "# Preference pairs for configurable preference tuning", _INTRODUCTION]
    parts += ["## How it was made", f"    {manifest.command}", _how_made(manifest)]
    parts += ["## Twins", _twins_tables(manifest)]
    parts += ["## Rubrics", _table(["rubric", "hash", "licence", "source"], _rubric_rows(manifest))]
    if lost := _lost_rows(manifest):
        parts += ["## What was left out", _table(["stage", "reason", "count"], lost)]
    parts += ["## Files", _table(["file", "rows", "sha256"], _file_rows(manifest)), "## Known limits", _LIMITS]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
Each row is a preference pair under a system prompt; the two rows that share a `pair_id` are a twin: two responses to
one user prompt, whose roles of chosen and rejected swap with the system prompt. Method: Configurable Preference Tuning,
arXiv 2506.11702. The rows train unchanged with TRL's `DPOTrainer` and `trl dpo`; keep both rows of a twin in the same
split. `level` is what the system prompt asks for, scores are 0-100 and by the rubric."""

_LIMITS = """\
- Synthetic: the system prompts, and the responses unless people wrote them, are written by language models.
- Teacher bias: habits of a teacher, such as longer texts at one level, can be learnt in place of what is asked.
- Judge: levels and scores are a judge's, and no better than it; they say how a text fits a rubric, not how good it is.
- English only.
- Terms of the teachers' providers may bind the use of the responses, beside the licence above."""


def _header(manifest: Manifest) -> dict[str, Any]:
    names = list(manifest.files)
    ending = ".parquet" if any(name.endswith(".parquet") for name in names) else ".jsonl"
    data_files = [{"split": Path(name).stem, "path": name} for name in names if name.endswith(ending)]
    rows = sum(about["rows"] for name, about in manifest.files.items() if name.endswith(ending))
    return {
        "license": manifest.licence,
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        "size_categories": [next((size for top, size in _SIZES if rows < top), "n>10M")],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }


def _how_made(manifest: Manifest) -> str:
    inputs = [[about["name"], about["rows"] or "", about["sha256"]] for about in manifest.inputs]
    lines = [
        f"Seed: {manifest.seed}. Teachers: {', '.join(manifest.teachers)}. Judges: {'; '.join(manifest.judges)}.",
        "",
        _table(["input", "rows", "sha256"], inputs),
    ]
    return "\n".join(lines)


def _twins_tables(manifest: Manifest) -> str:
    files = list(dict.fromkeys(file for entry in manifest.twins for file in entry["twins"]))
    single = [
        [entry["rubric"], entry["levels"], entry["teacher"], *(entry["twins"].get(file, 0) for file in files)]
        + [f"{entry[mean]:.1f}" for mean in ("mean_lower", "mean_higher", "mean_gap")]
        for entry in manifest.twins
        if entry["levels"]
    ]
    counts = [f"{file} twins" for file in files]
    means = ["mean score, lower", "mean score, higher", "mean gap"]
    tables = [_table(["rubric", "levels", "teacher", *counts, *means], single)]
    composed = [
        [entry["rubric"], entry["teacher"], *(entry["twins"].get(file, 0) for file in files)]
        for entry in manifest.twins
        if not entry["levels"]
    ]
    if composed:
        about = (
            "Compositions: the system prompt asks for two rubrics, each at the level that its judge found (the columns "
            "that begin with `with_` hold the second)."
        )
        tables += [about, _table(["rubrics", "teacher", *counts], composed)]
    return "\n\n".join(tables)


def _rubric_rows(manifest: Manifest) -> list[list[Any]]:
    return [[name, *(about[key] for key in ("hash", "licence", "source"))] for name, about in manifest.rubrics.items()]


def _lost_rows(manifest: Manifest) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for about in manifest.verification:
        stage = f"verification of {about['input']}: {about['kept']} of {about['in']} responses kept"
        rows += [[stage, reason, count] for reason, count in about["dropped"].items()]
    rows += [["responses that may not train", reason, count] for reason, count in manifest.skipped.items()]
    return rows + [["pairing", what, count] for what, count in manifest.left_out.items()]


def _file_rows(manifest: Manifest) -> list[list[Any]]:
    return [[name, about["rows"], about["sha256"]] for name, about in manifest.files.items()]


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_verification(path: Path) -> dict[str, Any] | None:
    """What `cpt verify` counted of the responses it kept in this file; None if it was not written by that command.

    Returns `input` (the file's name) and, as in `verification.json` beside it, `in`, `kept` and `dropped` (by reason,
    bad rows too).

    Raises:
        ValueError: If `verification.json` lacks any of these.
    """
    beside = path.parent / "verification.json"
    if path.name != "responses.jsonl" or not beside.is_file():
        return None
    counts = json.loads(beside.read_text(encoding="utf-8"))
    if missing := sorted({"in", "kept", "dropped_by_reason", "bad_by_kind"} - set(counts)):
        raise ValueError(f"{beside}: lacks {missing}, expected the counts that `cpt verify` writes")
    dropped = counts["dropped_by_reason"] | counts["bad_by_kind"]
    return {"input": path.name, "in": counts["in"], "kept": counts["kept"], "dropped": dropped}


def find_hub_token() -> None:
    """Raises click.ClickException, saying what to do, if files could not be pushed: no package, or no token."""
    try:
        from huggingface_hub import get_token
    except ModuleNotFoundError as error:
        raise click.ClickException("--push-to-hub needs huggingface_hub: pip install 'cpt-tasks[data]'") from error
    if not get_token():
        raise click.ClickException(
            "--push-to-hub: found no token of the Hugging Face hub, expected one; run `hf auth login` or set HF_TOKEN"
        )


def push_folder(folder: Path, names: Iterable[str], repo: str, private: bool) -> str:
    """Uploads files of a folder as a dataset repository, made if there is none, and returns its address.

    Raises:
        click.ClickException: If the hub refuses; the token is in no message.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    http_error = HfHubHTTPError.__mro__[1]  # of httpx or httpx2, whichever the hub's package has: no connection, too
    assert issubclass(http_error, Exception)

    api = HfApi()
    try:
        url = api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=list(names),
            commit_message="Upload preference pairs",
        )
    except (http_error, HFValidationError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise click.ClickException(f"push to {repo!r} failed, the files are in {folder}: {first}") from error
    return str(url)
