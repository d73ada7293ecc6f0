"""What a preference data set says of itself: `manifest.json`, and `README.md`, the dataset card of the hub.

Both hold no time and no path of a machine: the same input and seed give the same bytes everywhere. The card's header
names the files, so that `datasets.load_dataset(FOLDER)` finds them. Its text is `card.md`.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import huggingface_hub as hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from rubrics.files import write_whole

CARD = "README.md"
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 2
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_card(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes card and manifest into the folder of the files.

    Args:
        folder: Where to.
        manifest: `command` (with the names of files but not their folders), `seed`, `licence`, `inputs` (name, sha256
            and rows; rows are lines, null where a file is packed), `files` (sha256, rows and twins by file), `twins`
            (rubric, levels, teacher, number by file and mean scores; compositions have no levels and no means),
            `teachers`, `judges`, `rubrics` (hash, licence and source by id), `skipped` (rows that may not train, by
            reason), `left_out` (what else is in no file) and `verification` (`read_verification` of the inputs).
    """
    content = json.dumps({"schema": MANIFEST_SCHEMA, **manifest}, indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, f"{content}\n")
    write_whole(folder / CARD, _render(manifest))


def _render(manifest: dict[str, Any]) -> str:
    ending = ".parquet" if any(name.endswith(".parquet") for name in manifest["files"]) else ".jsonl"
    files = {name: about for name, about in manifest["files"].items() if name.endswith(ending)}
    rows = sum(about["rows"] for about in files.values())
    header = hub.DatasetCardData(
        license=manifest["licence"],
        language=["en"],
        task_categories=["text-generation"],
        tags=["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        size_categories=[next((size for top, size in _SIZES if rows < top), "n>10M")],
        configs=[
            {"config_name": "default", "data_files": [{"split": Path(name).stem, "path": name} for name in files]}
        ],
    )
    names = list(dict.fromkeys(name for entry in manifest["twins"] for name in entry["twins"]))
    kinds = [[entry["rubric"], entry["levels"], entry["teacher"]] for entry in manifest["twins"]]
    counts = [[entry["twins"].get(name, 0) for name in names] for entry in manifest["twins"]]
    means = [[f"{mean:.1f}" for name, mean in entry.items() if "mean" in name] for entry in manifest["twins"]]
    twins = list(zip(kinds, counts, means, strict=True))
    lost = [
        [f"verification of {about['input']}: {about['kept']} of {about['in']} responses kept", reason, count]
        for about in manifest["verification"]
        for reason, count in about["dropped"].items()
    ]
    lost += [["responses that may not train", *item] for item in manifest["skipped"].items()]
    lost += [["pairing", *item] for item in manifest["left_out"].items()]
    card = hub.DatasetCard.from_template(
        header,
        template_path=str(Path(__file__).with_name("card.md")),
        **{name: manifest[name] for name in ("command", "seed", "teachers", "judges")},
        counts=[f"{name} twins" for name in names],
        single=[[*kind, *count, *mean] for kind, count, mean in twins if kind[1]],
        composed=[[kind[0], kind[2], *count] for kind, count, _ in twins if not kind[1]],
        input_rows=[[about["name"], about["rows"] or "", about["sha256"]] for about in manifest["inputs"]],
        rubric_rows=[[name, *about.values()] for name, about in manifest["rubrics"].items()],
        lost=lost,
        file_rows=[[name, about["rows"], about["sha256"]] for name, about in manifest["files"].items()],
    )
    return f"{str(card).rstrip()}\n"


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
    """Raises click.ClickException, saying what to do, if there is no token to push files with."""
    if not hub.get_token():
        raise click.ClickException(
            "--push-to-hub: found no token of the Hugging Face hub, expected one; run `hf auth login` or set HF_TOKEN"
        )


def push_folder(folder: Path, names: Iterable[str], repo: str, private: bool) -> str:
    """Uploads files of a folder as a dataset repository, made if there is none, and returns its address.

    Raises:
        click.ClickException: If the hub refuses; the token is in no message.
    """
    http_error = HfHubHTTPError.__mro__[1]  # of httpx or httpx2, whichever the hub's package has: no connection, too
    assert issubclass(http_error, Exception)
    api = hub.HfApi()
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
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise click.ClickException(f"push to {repo!r} failed, the files are in {folder}: {first}") from error
    return str(url)
