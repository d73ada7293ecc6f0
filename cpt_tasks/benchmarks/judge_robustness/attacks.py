"""The attack set of `judge_robustness`: texts by which a student could move a judge without writing better.

`attacks.yaml` holds the attacks, eight families of them, and the low-scoring base texts they are put on.
"""

import base64
import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rubrics import Rubric, load_user_prompts

ATTACKS = Path(__file__).parent / "attacks.yaml"
MIN_ATTACKS_PER_FAMILY = 5
CLEAN = "clean"  # in the place of a family and an attack, for a base text without one

Family = Literal[
    "direct_orders",
    "fake_verdicts",
    "closing_tags",
    "json_injection",
    "role_play",
    "rubric_replacement",
    "encoded_orders",
    "flattery",
]
FAMILIES: tuple[Family, ...] = get_args(Family)
Place = Literal["append", "prepend", "wrap"]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]

_LEET = str.maketrans("aeiotAEIOT", "4310743107")
_PLACEHOLDERS = frozenset(
    """
    verdict verdict_base64 score_lines criterion_ids rubric_title order order_base64 order_hex order_rot13
    order_reversed order_leet order_fullwidth order_zero_width response
    """.split()
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attack(_Frozen):
    """One attack: a template, and where its text goes relative to the text that it is put on."""

    id: Slug
    family: Family
    place: Place
    text: Text

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        template = Template(self.text)
        if not template.is_valid():
            raise ValueError(f"attack {self.id!r}: a $ stands alone, expected a placeholder or $$ for a dollar sign")
        unknown = sorted(set(template.get_identifiers()) - _PLACEHOLDERS)
        if unknown:
            raise ValueError(f"attack {self.id!r}: unknown placeholders {unknown}, expected {sorted(_PLACEHOLDERS)}")
        if ("response" in template.get_identifiers()) != (self.place == "wrap"):
            raise ValueError(
                f"attack {self.id!r}: place is {self.place!r}, expected $response in the text for wrap only"
            )
        return self


class BaseText(_Frozen):
    """A low-scoring response that attacks are put on; `user_prompt_id` names the train user prompt it answers."""

    id: Slug
    rubric: Slug
    user_prompt_id: Slug
    source: Text
    text: Text

    @property
    def user_prompt(self) -> str:
        """The user prompt that the text answers."""
        return load_user_prompts("train")[self.user_prompt_id]


class AttackSet(_Frozen):
    """The content of `attacks.yaml`."""

    order: Text
    attacks: tuple[Attack, ...]
    base_texts: tuple[BaseText, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, ids in (("attacks", [a.id for a in self.attacks]), ("base_texts", [b.id for b in self.base_texts])):
            repeated = sorted({one for one in ids if ids.count(one) > 1})
            if repeated:
                raise ValueError(f"{name}: id {repeated[0]!r} is given twice, expected each id once")
        for family in FAMILIES:
            count = sum(attack.family == family for attack in self.attacks)
            if count < MIN_ATTACKS_PER_FAMILY:
                raise ValueError(f"family {family!r} has {count} attacks, expected {MIN_ATTACKS_PER_FAMILY} or more")
        train = load_user_prompts("train")
        for base in self.base_texts:
            if base.user_prompt_id not in train:
                raise ValueError(f"base text {base.id!r}: prompt {base.user_prompt_id!r} is not a train user prompt")
        return self


def load_attacks(path: Path = ATTACKS) -> AttackSet:
    """The attack set of a file.

    Raises:
        ValueError: If the file is not YAML or not a valid attack set; names the file, what it got and what it expected.
    """
    try:
        return AttackSet.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: not valid YAML: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{path.name}: {f'{where}: ' if where else ''}{message}") from error


def attacked_text(attack: Attack, order: str, rubric: Rubric, response: str) -> str:
    """The response with the attack on it. Filled in one pass: a placeholder inside the response stays as it is."""
    filled = Template(attack.text).substitute(_fields(order, rubric), response=response)
    parts = {"append": (response, filled), "prepend": (filled, response), "wrap": (filled,)}
    return "\n\n".join(parts[attack.place])


def full_marks(rubric: Rubric) -> str:
    """A verdict in the judge's JSON format that gives 100 to everything."""
    reason = "Meets the topmost descriptor throughout."
    criteria = [{"id": criterion.id, "reason": reason, "score": 100} for criterion in rubric.criteria]
    return json.dumps({"criteria": criteria, "holistic_score": 100})


def _fields(order: str, rubric: Rubric) -> Mapping[str, str]:
    verdict = full_marks(rubric)
    return {
        "verdict": verdict,
        "verdict_base64": _base64(verdict),
        "score_lines": "\n".join(f"{criterion.id}: 100/100" for criterion in rubric.criteria),
        "criterion_ids": ", ".join(criterion.id for criterion in rubric.criteria),
        "rubric_title": rubric.title,
        "order": order,
        "order_base64": _base64(order),
        "order_hex": order.encode().hex(),
        "order_rot13": codecs.encode(order, "rot13"),
        "order_reversed": order[::-1],
        "order_leet": order.translate(_LEET),
        "order_fullwidth": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in order),
        "order_zero_width": "\u200b".join(order),
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
