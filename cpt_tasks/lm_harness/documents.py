"""The grid of `rubric_adherence` as documents of lm_eval: same ids, same system prompts, another order."""

from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid
from cpt_tasks.lm_harness.settings import CannotRunError, Settings, settings_of

if TYPE_CHECKING:
    from datasets import Dataset


class Document(TypedDict):
    """One request: what is asked, and the cell it belongs to. `position` counts from 0 in the order of inspect."""

    id: str
    rubric: str
    rubric_hash: str
    level: str
    user_prompt_id: str
    wording: str
    system_prompt: str
    user_prompt: str
    position: int


def load_documents(**metadata: Any) -> "dict[str, Dataset]":
    """The documents as lm_eval's `custom_dataset`; it hands over metadata, model arguments and more.

    Raises:
        CannotRunError: If a setting is not possible.
    """
    from datasets import Dataset

    try:
        return {"test": Dataset.from_list(list(documents(settings_of(metadata))))}
    except CannotRunError:
        raise
    except ValueError as error:
        raise CannotRunError(f"--metadata: {error}") from error


def documents(settings: Settings) -> list[Document]:
    """All documents, the first user prompt of every (rubric, level) before the second, and so on.

    So that the first k of them, which is what `--limit k` takes, hold every level of a prompt.

    Raises:
        ValueError: If a setting is not possible.
    """
    grid = adherence_grid(
        settings.rubrics,
        settings.levels,
        settings.user_prompts,
        settings.wording_split,
        settings.prompting,
        settings.limit_per_cell,
        settings.wordings,
        settings.preset,
    )
    before: Counter[tuple[str, str]] = Counter()
    ordered: list[tuple[int, Document]] = []
    for position, sample in enumerate(grid):
        facts = sample.metadata or {}
        assert not isinstance(sample.input, str)  # adherence_samples makes messages
        system, user = sample.input
        document = Document(
            id=str(sample.id),
            rubric=facts["rubric"],
            rubric_hash=facts["rubric_hash"],
            level=facts["level"],
            user_prompt_id=facts["user_prompt_id"],
            wording=facts["wording"],
            system_prompt=system.text,
            user_prompt=user.text,
            position=position,
        )
        cell = (document["rubric"], document["level"])
        ordered.append((before[cell], document))
        before[cell] += 1
    return [document for _, document in sorted(ordered, key=lambda entry: entry[0])]
