"""Draws the pictures of the user prompts of the family `pictures`, and writes down what it drew.

    python -m rubrics.draw_pictures [FOLDER]

Four kinds by turns, 12 of each: shapes, charts, maps, landscapes, put together of `things.yaml`. Numbers 1 to 6 are for
train prompts, 7 to 12 for test prompts. A seed of its own decides each, so that one version of Pillow gives the same
bytes. `objects.json` has every object of a picture by its names. The pictures are CC0.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from rubrics.files import write_whole
from rubrics.load import read_yaml
from rubrics.pictures import FOLDER, OBJECTS

PER_KIND = 12
THINGS: dict[str, Any] = read_yaml(FOLDER / "things.yaml")
WIDTH, HEIGHT = THINGS["size"]
_COLOURS = {name: number for number, name in enumerate(THINGS["colours"])}
_STRONG = ["red", "orange", "green", "blue", "purple", "brown"]
_LINE_WIDTH = 4
_FLOOR = 240  # y of the axis of a chart, and where its values are 0
_PER_UNIT = 1.7  # pixels of a value there
_TOWN_PLACES = [(60, 60), (215, 40), (290, 205)]

Names = Sequence[str]


class Canvas:
    """A picture in a few flat colours, in pixels from the upper left corner."""

    def __init__(self, background: str) -> None:
        self.image = Image.new("P", (WIDTH, HEIGHT), _COLOURS[background])
        self.image.putpalette([value for colour in THINGS["colours"].values() for value in colour])
        self._pen = ImageDraw.Draw(self.image)

    def figure(self, kind: str, at: Sequence[float], colour: str, x: float = 0, y: float = 0) -> None:
        """Draws a figure of `things.yaml`, moved by x and y."""
        moved = [value + (y if place % 2 else x) for place, value in enumerate(at)]
        options: dict[str, Any] = {"width": _LINE_WIDTH} if kind == "line" else {}
        getattr(self._pen, kind)(moved, fill=_COLOURS[colour], **options)

    def thing(self, parts: Sequence[Sequence[Any]], colour: str = "", x: float = 0, y: float = 0) -> None:
        """Draws the parts of a thing, those without a colour in the one given."""
        for kind, at, *own in parts:
            self.figure(kind, at, own[0] if own else colour, x, y)

    def slice(self, at: Sequence[float], start: float, end: float, colour: str) -> None:
        """Draws a slice of a pie, in degrees from three o'clock, clockwise."""
        self._pen.pieslice(list(at), start, end, fill=_COLOURS[colour], outline=_COLOURS["white"])

    def text(self, x: float, y: float, text: str) -> None:
        """Writes a text around x, with its upper edge at y, in a bitmap font at twice its size."""
        font = ImageFont.load_default_imagefont()
        _, _, width, height = font.getbbox(text)
        mask = Image.new("1", (round(width), round(height)))
        ImageDraw.Draw(mask).text((0, 0), text, fill=1, font=font)
        mask = mask.resize((2 * mask.width, 2 * mask.height), Image.Resampling.NEAREST)
        self.image.paste(_COLOURS["black"], (round(x - mask.width / 2), round(y)), mask)


def draw(kind: str, number: int) -> tuple[Image.Image, list[Names]]:
    """A picture of a kind, and the names of every object in it."""
    rng = random.Random(f"{kind}-{number}")
    canvas, objects = _KINDS[kind](rng)
    return canvas.image, objects


def _shapes(rng: random.Random) -> tuple[Canvas, list[Names]]:
    canvas, drawn = Canvas("white"), rng.sample(THINGS["shapes"], rng.randint(7, 9))
    cells = rng.sample([(column, row) for column in range(4) for row in range(3)], len(drawn))
    for shape, (column, row) in zip(drawn, cells, strict=True):
        x, y = 48 + 96 * column + rng.randint(-8, 8), 48 + 96 * row + rng.randint(-8, 8)
        canvas.thing(shape["parts"], rng.choice(_STRONG), x, y)
    return canvas, [shape["names"] for shape in drawn]


def _chart(rng: random.Random) -> tuple[Canvas, list[Names]]:
    canvas, chart = Canvas("white"), rng.choice(THINGS["charts"])
    counted: list[Names] = chart["counted"][: rng.randint(3, 5)]
    values = rng.sample(range(12, 98), len(counted))
    kind: Names = rng.choice(THINGS["chart_kinds"])
    canvas.text(WIDTH / 2, 8, chart["title"][0])
    labels = [names[0] for names in counted]
    paint = _pie if kind[0] == "pie chart" else _axes
    paint(canvas, labels, values, rng.sample(_STRONG, len(counted)), kind[0] == "bar chart")
    return canvas, [kind, chart["title"], *counted, *([str(value)] for value in values)]


def _pie(canvas: Canvas, labels: list[str], values: list[int], colours: list[str], _bars: bool) -> None:
    start = -90.0
    for place, (label, value, colour) in enumerate(zip(labels, values, colours, strict=True)):
        end = start + 360 * value / sum(values)
        canvas.slice((30, 60, 230, 260), start, end, colour)
        canvas.figure("rectangle", (245, 67, 261, 83), colour, y=38 * place)
        canvas.text(320, 62 + 38 * place, f"{label} {value}")
        start = end


def _axes(canvas: Canvas, labels: list[str], values: list[int], colours: list[str], bars: bool) -> None:
    step = (WIDTH - 60) / len(labels)
    middles = [50 + step * (place + 0.5) for place in range(len(labels))]
    tops = [_FLOOR - _PER_UNIT * value for value in values]
    for x, top, label, value, colour in zip(middles, tops, labels, values, colours, strict=True):
        if bars:
            canvas.figure("rectangle", (x - step / 4, top, x + step / 4, _FLOOR), colour)
        canvas.text(x, top - 30, str(value))
        canvas.text(x, _FLOOR + 10, label)
    if not bars:
        canvas.figure("line", [at for point in zip(middles, tops, strict=True) for at in point], colours[0])
    canvas.figure("line", (44, 50, 44, _FLOOR, WIDTH - 8, _FLOOR), "black")


def _map(rng: random.Random) -> tuple[Canvas, list[Names]]:
    canvas = Canvas("sand")
    drawn = sorted(rng.sample(range(len(THINGS["map"])), rng.randint(4, 7)))
    for place in drawn:
        canvas.thing(THINGS["map"][place]["parts"], x=rng.randint(-10, 10))
    towns = rng.sample(THINGS["towns"], len(_TOWN_PLACES))
    for town, (x, y) in zip(towns, _TOWN_PLACES, strict=True):
        canvas.figure("ellipse", (x - 6, y - 6, x + 6, y + 6), "red")
        canvas.text(x, y + 8, town)
    return canvas, [*(THINGS["map"][place]["names"] for place in drawn), *([town] for town in towns)]


def _landscape(rng: random.Random) -> tuple[Canvas, list[Names]]:
    is_night = rng.random() < 0.3
    canvas = Canvas("night" if is_night else "sky")
    x = rng.randint(40, 340)
    canvas.figure("ellipse", (x - 24, 18, x + 24, 66), "white" if is_night else "yellow")
    ground = "green" if is_night else "meadow"
    canvas.figure("polygon", (0, 170, 190, 185, WIDTH, 170, WIDTH, HEIGHT, 0, HEIGHT), ground)
    drawn = sorted(rng.sample(range(len(THINGS["landscape"])), rng.randint(6, 8)))
    for place in drawn:
        canvas.thing(THINGS["landscape"][place]["parts"], x=rng.randint(-8, 8))
    return canvas, [["moon" if is_night else "sun"], *(THINGS["landscape"][place]["names"] for place in drawn)]


_KINDS = {"shapes": _shapes, "chart": _chart, "map": _map, "landscape": _landscape}


def main() -> None:
    """Draws all pictures into the folder given, or where the package has them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    objects = {}
    for number in range(1, PER_KIND + 1):
        for kind in _KINDS:
            name = f"{kind}_{number:02d}.png"
            image, objects[name] = draw(kind, number)
            image.save(folder / name, optimize=True, bits=4)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(names)}" for name, names in objects.items())
    write_whole(folder / OBJECTS, f'{{\n "schema": 1,\n "objects": {{\n{lines}\n }}\n}}\n')


if __name__ == "__main__":
    main()
