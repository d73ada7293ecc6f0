"""A run: what one log holds, as a frame, what was run, and which runs may share a table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from cpt_tasks.statistics.frame import with_level
from judges import NO_RESPONSE
from judges.interval import NAN
from model_calls.errors import was_cut_off

USUAL = {"headline": "criteria", "repeats": "1"}  # what goes without saying


@dataclass(frozen=True)
class Judging:
    """How the judge fared on one log.

    Attributes:
        failures: Unscored samples by "MODE at LEVEL"; samples that ended in an error are not among them.
        further_failures: Judgments by further rubrics (`also`) that failed, by "MODE by RUBRIC".
        attempts: Replies of the judge that were read; 0 for the measured judge.
        usage: Tokens by kind over all replies.
        cost_usd: Cost of all replies in US dollars, from the call store or not; None where a price is not known.
        noise: What repeats and panels say about the judges, a statement per line; [] where each was asked once.
        attainable_accuracy: What a perfect student could get from a judge this noisy; nan where it is not known.
    """

    failures: dict[str, int] = field(default_factory=dict)
    further_failures: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    usage: Counter[str] = field(default_factory=Counter)
    cost_usd: float | None = None
    noise: list[str] = field(default_factory=list)
    attainable_accuracy: float = NAN


@dataclass(frozen=True)
class Run:
    """The judged samples of one log, and what was run.

    Attributes:
        task: Name of the benchmark, e.g. "rubric_adherence".
        name: Row name: the model's name, with the prompting in brackets where it is not the system prompt.
        model: The model's name with its provider.
        base: The base model, from `--metadata base=`; without it the model's name.
        adapter: The adapter, from `--metadata adapter=`, or None.
        prompting: "system_prompt" or "full_rubric".
        protocol: What must be equal between logs that share a table; None for what does not matter to a run.
        frame: One row per sample, see `statistics.frame`.
        judging: What the judge did for it.
        details: Command, seed and versions.
        further_rubrics: Hashes of the rubrics that judged responses of other rubrics (`also`), by id.
        decoding: How the model was made to choose its words, see `options.decoding_of`.
        invalidated: The samples, by id and epoch, that a person invalidated; they are not in the frame.
        left_out: Samples that are not in the frame because another run has none to compare them with.
    """

    task: str
    name: str
    model: str
    base: str
    adapter: str | None
    prompting: str
    protocol: dict[str, Any]
    frame: pd.DataFrame
    judging: Judging = field(default_factory=Judging)
    details: dict[str, Any] = field(default_factory=dict)
    further_rubrics: dict[str, str] = field(default_factory=dict)
    decoding: str = ""
    invalidated: Sequence[tuple[str, int]] = ()
    left_out: int = 0

    @property
    def judged_by(self) -> str:
        """The judge and, in brackets, how it was asked; runs that differ in it stand in no table together."""
        how = {"version": self.protocol.get("prompt_version"), "headline": self.protocol.get("judge_protocol")}
        how |= {"repeats": self.protocol.get("judge_repeats")}
        told = [f"{name} {value}" for name, value in how.items() if value not in (None, USUAL.get(name))]
        return f"{self.protocol.get('judge', '')} ({', '.join(told)})"

    @property
    def scored(self) -> pd.DataFrame:
        """The rows with a score."""
        return self.frame[self.frame["score"].notna()]

    @property
    def asked(self) -> pd.DataFrame:
        """The rows with a score that ask for a score level."""
        return with_level(self.frame)

    @property
    def edited(self) -> int:
        """How many scores a person edited; they count as edited."""
        return int(self.scored["edited"].sum()) if "edited" in self.frame else 0

    @property
    def unscored(self) -> Counter[str]:
        """Samples without a score, by level: the judge failed, or the sample ended in an error."""
        return Counter(self.frame.loc[self.frame["score"].isna(), "level"])

    @property
    def no_response(self) -> Counter[str]:
        """Responses that were empty or under 15 words (they score 0), by level."""
        return Counter(self.frame.loc[self.frame["reason"] == NO_RESPONSE, "level"])

    @property
    def remarks(self) -> list[str]:
        """What tables do not say of the run, a statement per line: noise of the judges, and length of thoughts."""
        thoughts = self.scored["thought_words"]
        shown = f"mean chain of thought {thoughts.mean():.0f} words, which no judge read"
        return [*self.judging.noise, *([shown] if thoughts.any() else [])]

    @property
    def truncated(self) -> Counter[str] | None:
        """Responses cut at the token limit, by level; None if the provider does not say why it stopped."""
        if set(self.frame["stop_reason"]) == {"unknown"}:
            return None
        return Counter(self.frame.loc[self.frame["stop_reason"].map(was_cut_off), "level"])


def cluster_count(rows: pd.DataFrame) -> int:
    """How many user prompts, of conversations scripts, there are: what intervals leave out in turn."""
    return int(rows["script"].where(rows["script"] != "", rows["user_prompt_id"]).nunique())


def notes_of(runs: Sequence[Run]) -> list[str]:
    """What must be said beside the numbers of runs: how the models chose their words, and what people changed."""
    decoding = {run.name: run.decoding for run in runs}
    notes = [f"decoding: {text}" for text in dict.fromkeys(decoding.values()) if text]
    if len(notes) > 1:
        shown = "; ".join(f"{name}: {text}" for name, text in decoding.items())
        notes = [f"decoding differs, so not all that differs is the models' ({shown})"]
    # where the responses come from if no model wrote them for the log, from `--metadata provenance=`
    origins = [f"{run.name}: {text}" for run in runs if (text := run.details.get("provenance"))]
    lacks = [
        f"{run.name}: {run.left_out} of {run.left_out + len(run.frame)} samples left out, which not all models have"
        for run in runs
        if run.left_out
    ]
    return [*origins, *lacks, *notes, *(f"{run.name}: {edit}" for run in runs for edit in edits_of(run))]


def edits_of(run: Run) -> list[str]:
    """What people changed in a log, a statement each; [] where they changed nothing."""
    edits = [(len(run.invalidated), "sample", "invalidated by a person and left out")]
    edits += [(run.edited, "score", "edited by a person")]
    return [f"{count} {thing}{'s' * (count > 1)} {what}" for count, thing, what in edits if count]


def by_judging(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs in parts, in each of which the runs of a benchmark were `judged_by` one judge.

    The first part has the judge of each benchmark's first run, the next one its second judge, and so on.
    """
    parts: dict[int, list[Run]] = defaultdict(list)
    judges: dict[str, dict[str, int]] = defaultdict(dict)  # of each benchmark, with their places
    for run in runs:
        place = judges[run.task].setdefault(run.judged_by, len(judges[run.task]))
        parts[place].append(run)
    return list(parts.values())


def with_judge(name: str, run: Run, runs: Sequence[Run]) -> str:
    """A name, with the run's judge where runs of its benchmark have several."""
    judges = {one.judged_by for one in runs if one.task == run.task}
    return f"{name}, judge: {run.judged_by}" if len(judges) > 1 else name


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises ValueError as `check_protocol`, or if a model has more than one run."""
    check_protocol(runs)
    [(name, n_runs)] = Counter(run.name for run in runs).most_common(1)
    if n_runs > 1:
        raise ValueError(f"model {name!r} has more than one log, expected one log per model and prompting")


def check_protocol(runs: Sequence[Run]) -> None:
    """Raises ValueError, naming the difference, unless all runs share judge, prompt, rubrics, splits and grid.

    Further rubrics need not be the same ones, but those of one id must be.
    """
    shared: dict[str, tuple[Any, str]] = {}
    for run in runs:
        further = run.further_rubrics.items()
        others = {f"the rubric {rubric!r} that judged responses of others": digest for rubric, digest in further}
        for key, value in (run.protocol | others).items():
            expected, name = shared.setdefault(key, (value, run.name)) if value is not None else (None, "")
            if value != expected:
                both = f"two runs of {name}" if run.name == name else f"{run.name} and {name}"
                raise ValueError(
                    f"{both} differ in {key}: {value!r} and {expected!r}; "
                    "scores are only comparable when it is the same, so report them apart, or what all were asked by "
                    "`cpt report --shared`"
                )


def tell_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, of models of one name with their providers in the names, and with the adapters of one model."""
    names = Counter(name for name, _ in {(run.name, run.model) for run in runs})
    runs = [
        replace(run, name=f"{run.model.split('/', 1)[0]}/{run.name}") if names[run.name] > 1 else run for run in runs
    ]
    adapters = Counter(name for name, _ in {(run.name, run.adapter) for run in runs})
    return [
        replace(run, name=f"{run.name} ({run.adapter})") if run.adapter and adapters[run.name] > 1 else run
        for run in runs
    ]


def base_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run without an adapter that an adapter's run is compared with; None for a base, or if there is no telling.

    It is the only one of the same base model (`--metadata base=`); where that is not said, the only one without
    adapter.
    """
    if run.adapter is None:
        return None
    bases = [other for other in runs if other.adapter is None]
    same = [other for other in bases if other.base == run.base]
    if not same and f"/{run.model}".endswith(f"/{run.base}"):
        same = bases
    return same[0] if len(same) == 1 else None


def with_bases(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Each adapter's run that has a base among the runs, and that base."""
    return [(run, base) for run in runs if (base := base_of(run, runs)) is not None]
