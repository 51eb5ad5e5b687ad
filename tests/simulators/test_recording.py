"""The moving picture: an SVG that shows each state of a run in its time, and needs nothing but itself."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.text import Text

from simulators.demo import Story
from simulators.demo_view import WIDTH, Drawing, chart
from simulators.recording import FASTER, FRAME_SECONDS, PAUSE_SECONDS, Recorder, lines_of, picture, strips_of

STORED = Path(__file__).parent.parent.parent / "docs" / "_static" / "demo.svg"
SVG = "{http://www.w3.org/2000/svg}"


def frames() -> list[list]:
    """Three frames of two lines: the first line changes once, the second stays."""
    return [lines_of(Text(f"{number // 2} events\n100% ████ of <all>", "cyan")) for number in (0, 2, 3)]


def test_a_line_keeps_each_of_its_states_once() -> None:
    changing, staying = strips_of(frames())
    assert changing.begins == [0, 1]
    assert [state[0][0] for state in changing.states] == ["0 events", "1 events"]
    assert len(staying.states) == 1


def test_states_are_shown_from_their_frame_on_and_the_last_one_through_the_pause() -> None:
    svg = picture(frames())
    seconds = 3 * FRAME_SECONDS / FASTER + PAUSE_SECONDS
    assert f"{seconds:.2f}s step-end infinite" in svg
    stops = re.search(r"@keyframes r0\{(.*?)\}\}", svg)
    assert stops
    shares = [float(share) for share in re.findall(r"([\d.]+)%\{", stops[1])]
    assert shares == pytest.approx([0, 100 * FRAME_SECONDS / FASTER / seconds], abs=0.01)
    assert "@keyframes r1" not in svg, "what doesn't change isn't animated"


def test_text_blocks_and_colours_are_drawn() -> None:
    root = ET.fromstring(picture(frames()))
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"0 events", "1 events", "100%", "of <all>"} <= set(texts)
    assert len(list(root.iter(f"{SVG}path"))) == 1, "four full blocks are one path"


def test_a_recording_begins_when_there_is_something_to_see_and_keeps_a_frame_now_and_then() -> None:
    recorder = Recorder()
    story = Story(60.0)
    for tick in range(600):
        story.elapsed = tick / 10
        recorder.show(story)
    assert len(recorder.frames) == pytest.approx(50 / FRAME_SECONDS, rel=0.05)


def test_the_display_keeps_its_size_while_the_story_goes_on() -> None:
    drawing, story = Drawing(), Story(60.0)
    sizes = set()
    for elapsed, mark in ((1.0, ""), (12.0, "newcomer"), (30.0, "rollback"), (59.0, "new season")):
        story.elapsed = elapsed
        story.add_news("x" * 200, mark)
        story.before = story.after = [f"item-{number:04}" for number in range(10)]
        for _ in range(50):
            story.hit_rate.count(True, False)
        lines = lines_of(drawing.of(story))
        sizes.add(len(lines))
        assert max(sum(len(run[0]) for run in line) for line in lines) <= WIDTH
    assert len(sizes) == 1


def test_a_higher_rate_of_popular_items_is_not_hidden() -> None:
    assert [line.plain for line in chart([(0.25, 0.75)], 2, 1.0)] == ["▄", "█"]


def test_the_stored_picture_moves_by_itself_and_loads_nothing() -> None:
    text = STORED.read_text()
    root = ET.fromstring(text)
    assert len(text.encode()) <= 400 * 1024
    used = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert used <= {"svg", "title", "style", "g", "rect", "circle", "path", "text"}
    assert not re.search(r"url\(|@import|@font-face|href|<script|onload", text)
    assert "prefers-reduced-motion" in text
    (seconds,) = {float(each) for each in re.findall(r"([\d.]+)s step-end infinite", text)}
    assert 15 <= seconds <= 25
    for shown in ("$ corrente demo", "▲ newcomer", "▲ rollback", "▲ new season", " of 10 match", "the very same list"):
        assert shown in text
