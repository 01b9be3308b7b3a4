"""The colours of a report page: told apart by everyone, on screen and in grey, light and dark."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import evalkit.report

Colours = npt.NDArray[np.float64]

STYLE = (Path(evalkit.report.__file__).parent / "assets/report.css").read_text(encoding="utf-8")
MARKS = (Path(evalkit.report.__file__).parent / "assets/marks.js").read_text(encoding="utf-8")

# Machado, Oliveira, Fernandes 2009, "A physiologically-based model for simulation of color vision
# deficiency", severity 1.0, for linear RGB.
SEEN_BY = {
    "all cones": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
# IEC 61966-2-1: linear sRGB to XYZ.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    plain, own = (dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", text)) for text in (light, dark))
    return {"light": plain, "dark": plain | own}


THEMES = themes()


def linear(colours: list[str]) -> Colours:
    """Linear RGB of hexadecimal colours, ``[n, 3]``."""
    whole = [each if len(each) == 7 else "#" + "".join(2 * letter for letter in each[1:]) for each in colours]
    values = np.array([[int(each[at : at + 2], 16) / 255 for at in (1, 3, 5)] for each in whole])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(light: Colours) -> Colours:
    """CIE 1976 L*a*b*, ``[n, 3]``, white D65."""
    relative = np.clip(light, 0, 1) @ XYZ.T / (XYZ @ np.ones(3))
    f = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast ratio."""
    dark, light = sorted(float(XYZ[1] @ each) for each in linear([first, second]))
    return (light + 0.05) / (dark + 0.05)


def systems(theme: str) -> list[str]:
    return [THEMES[theme][f"s{n}"] for n in range(12)]


def least_difference(colours: Colours) -> float:
    points = lab(colours)
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(points, 2))


def test_the_measures_are_those_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert lab(linear(["#ffffff"]))[0] == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear(["#ff0000"]))[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", SEEN_BY)
def test_twelve_systems_are_told_apart(theme: str, eyes: str) -> None:
    """A difference of 2.3 is just seen (Mahy et al. 1994)."""
    assert least_difference(linear(systems(theme)) @ SEEN_BY[eyes].T) >= 15


@pytest.mark.parametrize("theme", THEMES)
def test_in_grey_lightness_differs(theme: str) -> None:
    lightness = np.sort(lab(linear(systems(theme)))[:, 0])
    assert np.diff(lightness).min() >= 2.3
    first = np.sort(lab(linear(systems(theme)[:4]))[:, 0])
    assert np.diff(first).min() >= 7


@pytest.mark.parametrize("theme", THEMES)
def test_lines_stand_out_from_the_paper_and_texts_are_read(theme: str) -> None:
    """WCAG 2.2: 3 for what is drawn (1.4.11), 4.5 for text (1.4.3), also on tinted ground."""
    known = THEMES[theme]
    for colour in (*systems(theme), *(known[name] for name in ("better", "worse", "level", "mark"))):
        assert contrast(colour, known["paper"]) >= 3, colour
    for text in ("ink", "soft", "good", "bad", "mark"):
        for ground in ("paper", "tint"):
            assert contrast(known[text], known[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("tint", ["better", "worse", "mark"])
def test_numbers_are_read_on_the_strongest_tint(theme: str, tint: str) -> None:
    """Cells mix up to 55% of a colour into the paper (plots.js)."""
    known = THEMES[theme]
    srgb = [
        [int(known[name].ljust(7, known[name][-1])[at : at + 2], 16) for at in (1, 3, 5)]
        for name in (tint, "paper")
    ]
    mixed = "#" + "".join(f"{round(0.55 * a + 0.45 * b):02x}" for a, b in zip(*srgb, strict=True))
    assert contrast(known["ink"], mixed) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", SEEN_BY)
def test_better_and_worse_are_told_apart(theme: str, eyes: str) -> None:
    pair = linear([THEMES[theme][name] for name in ("better", "worse")])
    assert least_difference(pair @ SEEN_BY[eyes].T) >= 40


def test_any_two_systems_also_differ_by_marker_or_dashes() -> None:
    """As marks.js chooses them, for as many systems as anyone compares."""
    shapes = len(re.findall(r'"M[^"]*Z"', MARKS.split("const SHAPES")[1].split("];")[0]))
    dashes = len(re.findall(r'"[^"]*"', MARKS.split("const DASHES")[1].split("];")[0]))
    looks = {(n % shapes, n // shapes % 2, (n + n // shapes) % dashes) for n in range(24)}
    assert len(looks) == 24
    assert len({look[:2] for look in looks}) == 12
