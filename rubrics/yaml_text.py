"""Writes a rubric as a YAML file like those of the library: keys in their order, long texts folded."""

from typing import Any

import yaml

from rubrics.load import YAML_LOADER
from rubrics.schema import Rubric

LINE_WIDTH = 120
_FOLD_AFTER = 104  # column: PyYAML breaks a line after the word that passes it
_FOLDED_FROM = 90  # characters: with its key and indentation, a longer text would pass the line width


def rubric_yaml(rubric: Rubric) -> str:
    """The text of a rubric file, which `load_rubric` reads back as an equal rubric.

    Empty fields are left out, and so is the split "train", which is the default.
    """
    content = rubric.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    for criterion in content["criteria"]:
        criterion["weight"] = _number(criterion["weight"])
        if measure := criterion.get("measure"):
            measure = {name: _number(value) for name, value in measure.items()}
            criterion["measure"] = _OneLine(measure)
    return yaml.dump(_texts(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_FOLD_AFTER)


class _OneLine(dict[str, Any]):
    """A mapping written in braces."""


class _Text(str):
    """A text written in the first style that is read back as it was: folded or by lines if long, plain, quoted."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indents the items of a list under its key, which PyYAML does not."""
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: _Text) -> yaml.ScalarNode:
    lines = text.split("\n")
    if len(lines) > 1 and max(map(len, lines)) <= _FOLDED_FROM:
        styles: list[str | None] = ["|", None]
    # folding a line that begins with a space would put a line break into the text
    elif len(text) > _FOLDED_FROM and all(line == line.strip() for line in lines):
        styles = [">", None]
    else:
        styles = [None]
    # PyYAML 6 loses line separators, and spaces beside line breaks, in any style but double quotes
    style = next((style for style in styles if _survives(str(text), style)), '"')
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


def _survives(text: str, style: str | None) -> bool:
    node = yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)
    nested = yaml.SequenceNode("tag:yaml.org,2002:seq", [node], flow_style=False)
    written = yaml.serialize(nested, Dumper=_Dumper, allow_unicode=True, width=_FOLD_AFTER)
    try:
        return bool(yaml.load(written, Loader=YAML_LOADER) == [text])
    except yaml.YAMLError:
        return False


def _represent_in_one_line(dumper: yaml.SafeDumper, mapping: _OneLine) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=True)


_Dumper.add_representer(_Text, _represent_text)
_Dumper.add_representer(_OneLine, _represent_in_one_line)


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _texts(value: Any) -> Any:
    if isinstance(value, _OneLine):
        return value
    if isinstance(value, dict):
        return {str(key): _texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(item) for item in value]
    return _Text(value) if isinstance(value, str) else value
