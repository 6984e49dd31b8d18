"""The map of voices and faces: who is drawn, where, and in what colours."""

import csv
import io
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.markers import MarkerStyle
from PIL import Image
from tests_support import examples

from voiceface.evaluation.tsne import (
    CLIPS,
    SHAPES,
    Map,
    _sample,
    category_figure,
    draw_map,
    identity_figure,
    map_csv,
    number_figure,
    rendered,
    run_figure,
)


def made(people=30, clips=3):
    """A map whose points stand at known places."""
    identity = np.array([f"p{i:02}" for i in range(people) for _ in range(clips)])
    rng = np.random.default_rng(0)
    return Map(
        np.repeat(["voice", "face"], len(identity)),
        np.tile(np.arange(len(identity)), 2),
        np.tile(identity, 2),
        rng.standard_normal((2 * len(identity), 2)),
        30.0,
        0.5,
    )


def colours(figure, panel):
    """Colour of every point, by its place, the last one drawn on top."""
    figure.draw_without_rendering()
    found = {}
    for dots in figure.axes[panel].collections:
        places = dots.get_offsets().tolist()
        faces = np.broadcast_to(dots.get_facecolor(), (len(places), 4)).tolist()
        found |= {tuple(place): tuple(face) for place, face in zip(places, faces, strict=True)}
    return found


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 60), st.integers(0, 99))
def test_the_sample_takes_five_clips_of_each_and_more_only_where_all_are_in(counts, most, seed):
    names = np.repeat([f"p{i:02}" for i in range(len(counts))], counts)
    people = [f"p{i:02}" for i in range(len(counts))]
    rows = _sample(names, people, most, np.random.default_rng(seed))
    assert sorted(set(rows.tolist())) == rows.tolist()
    assert len(rows) == min(most, len(names))
    drawn = Counter(names[rows].tolist())
    first = [min(CLIPS, count) for count in counts]
    for place, person in enumerate(people):
        if sum(first) >= most:
            assert drawn[person] == max(0, min(first[place], most - sum(first[:place])))
        else:
            assert drawn[person] >= first[place]
            fuller = [drawn[other] for other, count in zip(people, counts, strict=True) if drawn[other] < count]
            assert drawn[person] <= max(CLIPS, min(fuller, default=99) + 1)


def test_the_map_is_seeded_draws_the_same_people_and_keeps_neighbours():
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((60, 8)) * 4
    voice_identity = np.array([f"p{i:02}" for i in range(60) for _ in range(8)])
    face_identity = np.array([f"p{i:02}" for i in range(59) for _ in range(6)] + ["only"] * 4)
    voices = np.repeat(centre, 8, axis=0) + 0.1 * rng.standard_normal((480, 8))
    faces = np.r_[np.repeat(centre[:59], 6, axis=0), np.zeros((4, 8))] + 0.1 * rng.standard_normal((358, 8))
    first = draw_map(voices, voice_identity, faces, face_identity, 200, seed=1)
    voice = first.modality == "voice"
    assert (voice.sum(), (~voice).sum()) == (100, 100)
    assert set(first.identity[voice]) == set(first.identity[~voice])
    assert set(Counter(first.identity.tolist()).values()) == {10}
    assert (voice_identity[first.row[voice]] == first.identity[voice]).all()
    assert (face_identity[first.row[~voice]] == first.identity[~voice]).all()
    apart = np.linalg.norm(first.xy[:, None] - first.xy[None], axis=2) + np.diag(np.full(200, np.inf))
    assert (first.identity[apart.argmin(axis=1)] == first.identity).mean() > 0.95
    again = draw_map(voices, voice_identity, faces, face_identity, 200, seed=1)
    assert (again.xy == first.xy).all()
    other = draw_map(voices, voice_identity, faces, face_identity, 200, seed=2)
    assert set(other.identity) != set(first.identity)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_small_spaces_and_few_points_are_drawn(dimensions):
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])
    found = draw_map(rng.random((3, dimensions)), names, rng.random((3, dimensions)), names)
    assert found.xy.shape == (6, 2)
    assert np.isfinite(found.xy).all()
    assert found.perplexity == pytest.approx(5 / 3)


def test_the_table_has_every_point_and_leaves_unknown_numbers_empty():
    drawn = made(2, 1)
    text = map_csv(drawn, {"gender": ["m", "f", "m", "f"], "pitch": [101.234, np.nan, -np.inf, 7.0]}).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [r["modality"] for r in rows] == ["voice", "voice", "face", "face"]
    assert [(r["identity"], r["row"], r["gender"], r["pitch"]) for r in rows] == [
        ("p00", "0", "m", "101.23"),
        ("p01", "1", "f", ""),
        ("p00", "0", "m", ""),
        ("p01", "1", "f", "7.00"),
    ]
    assert np.array([[float(r["x"]), float(r["y"])] for r in rows]) == pytest.approx(drawn.xy, abs=1e-4)


def test_a_dozen_people_are_in_colour_the_same_in_both_panels():
    drawn = made()
    figure = identity_figure(drawn)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"p{i:02}" for i in range(12)] + ["others"]
    for panel, modality in enumerate(("voice", "face")):
        found = colours(figure, panel)
        own = drawn.modality == modality
        assert len({found[tuple(xy)] for xy in drawn.xy[own & (drawn.identity < "p12")].tolist()}) == 12
        assert len({found[tuple(xy)] for xy in drawn.xy[own & (drawn.identity >= "p12")].tolist()}) == 1
        assert len({found[tuple(xy)] for xy in drawn.xy[~own].tolist()}) == 1
    assert colours(figure, 0)[tuple(drawn.xy[0].tolist())] == colours(figure, 1)[tuple(drawn.xy[90].tolist())]


def test_voices_are_circles_faces_are_triangles_and_panels_are_full():
    drawn = made()
    wide = replace(drawn, xy=drawn.xy * [3.0, 2.0])
    corners = {name: len(MarkerStyle(shape).get_path().vertices) for name, shape in SHAPES.items()}
    values = np.arange(180.0).tolist()
    figures = (identity_figure(wide), category_figure(wide, ["a"] * 180, "x"), number_figure(wide, values, "x", "Hz"))
    for figure in (*figures, run_figure(wide, "x")):
        figure.draw_without_rendering()
        for panel in figure.axes[: 2 if len(figure.axes) == 2 and figure.axes[1].get_title() else 1]:
            for dots in panel.collections:
                inside = [wide.xy.tolist().index(place) for place in dots.get_offsets().tolist()]
                vertices = len(dots.get_paths()[0].vertices)
                assert all(vertices == corners[wide.modality[i]] for i in inside)
            (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
            used = np.ptp(wide.xy, axis=0) / [right - left, high - low]
            assert used.min() > 0.85


def test_ages_are_in_order_and_unknown_ones_grey():
    drawn = made()
    ages = ["100+", "9-19", "20-29", ""]
    labels = [ages[i % 4] for i in range(len(drawn.row))]
    figure = category_figure(drawn, labels, "age")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["9-19", "20-29", "100+", "unknown"]
    found = colours(figure, 0)
    light = [sum(found[tuple(drawn.xy[ages.index(age)].tolist())][:3]) for age in ("9-19", "20-29", "100+")]
    assert light == sorted(light)


def test_rare_values_beyond_twelve_are_grey_and_long_names_are_cut():
    drawn = made(15, 4)
    labels = [f"a country with a long name {chr(97 + i // 4 % 15)}" for i in range(len(drawn.row))]
    labels[:2] = [labels[2 * 4], labels[3 * 4]]
    texts = [text.get_text() for text in category_figure(drawn, labels, "nationality").legends[0].get_texts()]
    assert len(texts) == 13
    assert texts[-1] == "others"
    assert texts[0] == "a country with a lo…"


def test_a_measure_colours_voices_only():
    drawn = made()
    values = np.where(drawn.modality == "voice", np.arange(180.0), np.nan)
    values[3] = -np.inf
    found = colours(number_figure(drawn, values.tolist(), "pitch", "Hz"), 0)
    assert len({found[tuple(xy)] for xy in drawn.xy[90:].tolist()}) == 1
    assert len({found[tuple(xy)] for xy in drawn.xy[:90].tolist()}) > 50
    grey = found[tuple(drawn.xy[3].tolist())]
    assert grey[0] == grey[1] == grey[2]


def test_pictures_are_whole_and_the_same_twice():
    first, second = (rendered(identity_figure(made())) for _ in range(2))
    assert first == second
    picture = Image.open(io.BytesIO(first["png"]))
    assert picture.size[0] > picture.size[1] > 500
    assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 12
    assert ET.fromstring(first["svg"]).tag.endswith("svg")
