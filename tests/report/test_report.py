"""The report: self-contained, accessible, the same every time; and looked at by a browser."""

import dataclasses
import json
import re
import shutil
import statistics
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pytest_httpserver import HTTPServer
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    forged,
    innocent_rule,
    signed,
)

from audit.errors import SignatureInvalidError, UntrustedKeyError
from audit.records.record import State
from audit.report.data import ReportData, report_data
from audit.report.write import render_html, render_json, render_junit, render_markdown, verdict_of
from audit.scores.comparison import compare
from audit.signing.keys import Trust

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
VOID = {"meta", "img", "br", "col", "link"}


class Page(HTMLParser):
    """Collects a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def golden() -> ReportData:
    return report_data(GOLDEN_RECORD, GOLDEN_BUNDLE, TRUST)


@pytest.fixture(scope="module")
def html(golden: ReportData) -> str:
    return render_html(golden)


def data_of(tmp_path: Path, data: bytes, bundle: Path | None = GOLDEN_BUNDLE) -> ReportData:
    path = tmp_path / "test.kinrecord"
    path.write_bytes(data)
    return report_data(path, bundle, TRUST)


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & {
        tag for tag, _ in page.elements
    }
    assert "://" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:image/png;base64,", "#"))
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_is_well_formed_and_names_its_language(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))


def test_everything_that_is_drawn_has_words(html: str) -> None:
    page = Page(html)
    assert len(page.all("img")) == 12
    for image in page.all("img"):
        assert image["alt"]
    assert len(page.all("svg")) == 3
    for figure in page.all("svg"):
        assert figure["role"] == "img"
        assert f'<title id="{figure["aria-labelledby"]}">' in html
    # The suspect answers like the source: 24 times log(0.5 + 0.05) - log(0.125 + 0.05) = 1.1451
    assert "The suspect&#x27;s score is 1.145." in html


def test_every_table_has_a_caption_and_heads_with_a_scope(html: str) -> None:
    page = Page(html)
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))


def test_both_colour_schemes_define_the_same_colours_with_enough_contrast(html: str) -> None:
    light, dark, paper = (_colours(part) for part in _roots(html))
    assert set(light) == set(dark) == set(paper)
    for colours in (light, dark, paper):
        for name, colour in colours.items():
            if name in ("paper", "panel", "line"):
                continue
            # WCAG 2.2, 1.4.3: text needs 4.5 to 1
            assert _contrast(colour, colours["paper"]) >= 4.5, name
            assert _contrast(colour, colours["panel"]) >= 4.5, name


def test_figures_take_their_colours_from_the_page(html: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    for figure in figures:
        assert not re.search(r"#[0-9a-f]{6}\b", figure)
        assert "var(--ink)" in figure


def test_the_same_record_gives_the_same_page(golden: ReportData, html: str) -> None:
    again = report_data(GOLDEN_RECORD, GOLDEN_BUNDLE, TRUST)
    assert render_html(again) == html
    assert golden.record.digest in html


def test_a_lawyer_reads_what_was_found_how_sure_and_what_not(html: str) -> None:
    text = re.sub(r"<[^>]+>", "", html).replace("\xa0", " ")
    assert "The suspect behaves like a model derived from the source." in text
    assert "It gave the source&#39;s own answer to 24 of the 24 deciding images" in text
    assert "21 models that the owner names as independent of the source answered the same" in text
    assert "in at most 1 of 22 cases (p = 0.0455)" in text
    assert "weak evidence" not in text
    assert "It does not say who made it" in text
    assert "nobody invented rows" in text


def test_an_independent_suspect_is_not_proved_innocent(tmp_path: Path) -> None:
    data = data_of(tmp_path, signed(fixed_draft(audited_contents(), innocent_rule)))
    assert verdict_of(data) == "independent"
    assert "It does not prove that the suspect is independent" in render_html(data)


def test_a_suspect_that_cannot_be_compared_gets_a_page_without_scores(tmp_path: Path) -> None:
    draft = fixed_draft(audited_contents(), lambda kind, index, label: (label + 1) % 4)
    page = render_html(data_of(tmp_path, signed(draft)))
    assert "could not be compared" in page
    assert "None: the control images ended the audit." in page
    assert Page(page).all("svg") == []


def test_an_interrupted_audit_gets_a_page_without_a_result(tmp_path: Path) -> None:
    draft = dataclasses.replace(
        fixed_draft(audited_contents(), copy_rule),
        state=State.INTERRUPTED,
        ended_by=None,
        finished=None,
        outcome=None,
    )
    data = data_of(tmp_path, signed(draft))
    assert verdict_of(data) == "no result"
    assert "there is no result" in render_html(data)
    assert "<skipped" in render_junit(data)
    assert "## Scores" not in render_markdown(data)
    assert "## What does not follow" not in render_markdown(data)


def test_without_the_bundle_the_page_says_that_nothing_was_recomputed(tmp_path: Path) -> None:
    page = render_html(data_of(tmp_path, GOLDEN_RECORD.read_bytes(), None))
    assert "This report was made without the bundle" in page
    assert "signature holds, not recomputed" in page
    assert Page(page).all("img") == []


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        suspect = lines[0]["suspect"]
        assert isinstance(suspect, dict)
        suspect["name"] = "<script>alert(1)</script>|\x1b[2J\u202e"

    data = data_of(tmp_path, forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY))
    assert "<script" not in render_html(data)
    assert "\x1b" not in render_html(data) + render_markdown(data)
    assert "<script" not in render_markdown(data)
    ElementTree.fromstring(render_junit(data))


def test_every_score_says_why_it_decides_as_it_does(golden: ReportData) -> None:
    assert golden.outcome is not None
    first = golden.outcome.scores[0]
    second = first.model_copy(update={"name": "mfue-w", "reason": "Only 12 queries."})
    outcome = golden.outcome.model_copy(update={"scores": (first, second)})
    data = dataclasses.replace(golden, outcome=outcome)
    assert "<li>MFUE matching rate, from probabilities: Only 12 queries.</li>" in render_html(data)
    assert "- mfue-w: Only 12 queries.\n" in render_markdown(data)


def test_what_scrolls_sideways_can_be_reached_with_the_keyboard(html: str) -> None:
    scrolling = [each for each in Page(html).all("div") if each.get("class") == "scroll"]
    assert len(scrolling) == 3
    for each in scrolling:
        assert (each["role"], each["tabindex"]) == ("region", "0")
        assert each["aria-label"]


def test_a_record_that_does_not_hold_is_not_reported(tmp_path: Path) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        lines[12]["label"] = 1

    with pytest.raises(SignatureInvalidError, match="record: refused: outcome: "):
        data_of(tmp_path, forged(GOLDEN_RECORD.read_bytes(), change, AUDITOR_KEY))
    with pytest.raises(UntrustedKeyError):
        report_data(GOLDEN_RECORD, GOLDEN_BUNDLE, Trust(keys=(OWNER_KEY.public_key,)))


def test_the_other_formats_say_the_same(golden: ReportData) -> None:
    document = json.loads(render_json(golden))
    assert document["verdict"] == "derived"
    assert document["outcome"]["scores"][0]["p_value"] == 1 / 22
    assert document["record"] == golden.record.digest
    assert "**Verdict: derived.**" in render_markdown(golden)
    suites = ElementTree.fromstring(render_junit(golden))
    (failure,) = suites.iter("failure")
    assert failure.attrib["type"] == "derived"
    assert suites[0].attrib["failures"] == "1"


@pytest.mark.parametrize("rule", [copy_rule, innocent_rule])
def test_the_thresholds_follow_from_the_scores_that_are_drawn(
    tmp_path: Path, rule: Callable[[str, int, int], int]
) -> None:
    data = data_of(tmp_path, signed(fixed_draft(audited_contents(), rule)))
    assert data.bundle is not None
    assert data.outcome is not None
    pairs = compare(data.bundle, data.record.answers, "likelihood-ratio").by_model(data.bundle)
    innocent = [value for model, value in pairs if model.role == "innocent"]
    derived = [value for model, value in pairs if model.role == "derived"]
    # alpha = 0.05 allows floor(0.05 * 22) - 1 = 0 innocents above the bound. Derived begins half
    # of the way to the typical model of the nearest kind; nobody above the bound is cleared.
    kinds: dict[str, list[float]] = {}
    for model, value in pairs:
        if model.role == "derived":
            kinds.setdefault(model.stratum, []).append(value)
    above = (max(innocent) + min(map(statistics.median, kinds.values()))) / 2
    below = min((min(derived) + statistics.median(innocent)) / 2, max(innocent))
    assert data.outcome.scores[0].derived_above == pytest.approx(above)
    assert data.outcome.scores[0].independent_below == pytest.approx(below)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_both_themes_and_asks_for_nothing(
    tmp_path: Path, html: str, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/report.html").respond_with_data(html, content_type="text/html")
    page, log = httpserver.url_for("/report.html"), tmp_path / "net.json"
    light = _shot(page, tmp_path / "light.png", f"--log-net-log={log}")
    dark = _shot(page, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    # The corner is bare paper: #ffffff and #14161a
    assert light[2, 2].tolist() == [255, 255, 255]
    assert dark[2, 2].tolist() == [20, 22, 26]
    assert (light != light[2, 2]).any(axis=2).mean() > 0.02
    assert {request.path for request, _ in httpserver.log} <= {"/report.html", "/favicon.ico"}
    hosts = set(re.findall(r'"url":"\w+://([^/":]+)', log.read_text()))
    # The browser itself looks for updates; the page may reach nobody.
    assert all(
        re.search(r"(^localhost|^127\.0\.0\.1|google\.com|googleapis\.com|gvt1\.com)$", h)
        for h in hosts
    )


def _shot(page: str, out: Path, *options: str) -> NDArray[np.uint8]:
    assert CHROMIUM is not None
    subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            f"--user-data-dir={out}.profile",
            *options,
            "--window-size=1000,1600",
            f"--screenshot={out}",
            page,
        ],
        capture_output=True,
        check=True,
    )
    return np.asarray(Image.open(out).convert("RGB"))


def _roots(html: str) -> list[str]:
    return re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)


def _colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css))


def _contrast(first: str, second: str) -> float:
    # WCAG 2.2, relative luminance
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
