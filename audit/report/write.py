"""Reports: a record for a lawyer, a judge, an engineer and a build server.

HTML is one file without scripts that asks for nothing from outside, the same for the same record,
bundle and version. Markdown, JSON and JUnit say the same with less.
"""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from adapters.printable import json_text
from audit.records.against_bundle import record_rule
from audit.records.record import State
from audit.report.data import ReportData
from audit.report.page import page_style, page_template, shown
from audit.report.score_words import SCORE_WORDS
from audit.report.weights_sureness import layer_rows
from audit.scores.comparison import compare
from audit.verdict.early_stop import path_boundaries
from audit.verdict.line_up import race_of
from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.outcome import ScoreOutcome, Verdict
from audit.verdict.steps import crafted_score

SCHEMA_VERSION = 2
"""Of the JSON document."""


def render_html(data: ReportData) -> str:
    """Return the report as one HTML file."""
    return page_template("report.html.j2").render(
        style=page_style(),
        data=data,
        opening=data.record.opening,
        manifest=data.record.opening.bundle.manifest,
        outcome=data.outcome,
        verdict=verdict_of(data),
        tone=verdict_of(data).split(" ")[0],
        figures=_figures(data),
        crafted=crafted_score(data.outcome) if data.outcome and data.outcome.scores else None,
        layers=layer_rows(
            data.record.opening.bundle.manifest.weights,
            data.outcome.weights if data.outcome else None,
        ),
        score_titles={name: words.title for name, words in SCORE_WORDS.items()},
    )


def render_markdown(data: ReportData) -> str:
    """Return the report as Markdown."""
    record, manifest = data.record, data.record.opening.bundle.manifest
    lines = [
        f"# Audit of {_md(record.opening.suspect.name)}",
        "",
        f"**Verdict: {verdict_of(data)}.** {data.words.headline}",
        "",
        *[f"{_md(text)}\n" for text in (*data.words.found, *data.words.sureness)],
        *_section("What does not follow", [f"- {_md(text)}" for text in data.words.beyond]),
        *_section(
            "What would make it stronger",
            [f"{place}. {_md(text)}" for place, text in enumerate(data.stronger, start=1)],
        ),
        *_section("Scores", _score_lines(data.outcome.scores if data.outcome else ())),
        *_section("Weights", _layer_lines(data)),
        "## Checks",
        "",
        "| check | result | what was found |",
        "|---|---|---|",
        *[f"| {check.name} | {check.status} | {_md(check.text)} |" for check in data.checks],
        "",
        *[f"- {_md(text)}" for text in data.limits],
        "",
    ]
    for title, rows in data.facts.items():
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        lines += [f"| {_md(name)} | {_md(value)} |" for name, value in rows] + [""]
    lines.append(
        f"Made from the record {record.digest} about the model {_md(manifest.model_name)}."
    )
    return "\n".join(lines) + "\n"


def render_json(data: ReportData) -> str:
    """Return the report as one JSON document."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "record": data.record.digest,
        "verdict": verdict_of(data),
        "headline": data.words.headline,
        "result": data.result.value if data.result else None,
        "outcome": data.outcome.model_dump(mode="json") if data.outcome else None,
        "checks": [
            {"name": check.name, "status": check.status.value, "text": check.text}
            for check in data.checks
        ],
        "not_shown": list(data.limits),
        "stronger": list(data.stronger),
        "facts": {title: dict(rows) for title, rows in data.facts.items()},
    }
    return json_text(json.dumps(document, indent=2)) + "\n"


def render_junit(data: ReportData) -> str:
    """Return the report as a JUnit file: a test that fails where the suspect is derived."""
    verdict, record = verdict_of(data), data.record
    suite = ElementTree.Element(
        "testsuite", name="kinprint", tests="1", timestamp=record.opening.started[:19]
    )
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=shown(record.opening.bundle.manifest.model_name),
        name=shown(record.opening.suspect.name),
    )
    text = data.outcome.text if data.outcome else data.words.headline
    counts = {"failures": "0", "errors": "0", "skipped": "0"}
    if verdict == Verdict.DERIVED:
        ElementTree.SubElement(case, "failure", type="derived", message=shown(text))
        counts["failures"] = "1"
    elif verdict == Verdict.NOT_COMPARABLE:
        ElementTree.SubElement(case, "error", type="not comparable", message=shown(text))
        counts["errors"] = "1"
    elif verdict not in (Verdict.INDEPENDENT, Verdict.NO_COPY):
        ElementTree.SubElement(case, "skipped", message=shown(f"{verdict}: {text}"))
        counts["skipped"] = "1"
    suite.attrib.update(counts)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + (
        ElementTree.tostring(suites, encoding="unicode") + "\n"
    )


def verdict_of(data: ReportData) -> str:
    """Return the verdict, or that there is none."""
    if data.outcome is None:
        return "no result"
    if data.record.closing.state is State.BUDGET:
        return "inconclusive"
    return data.outcome.verdict.value


def _figures(data: ReportData) -> dict[str, Markup]:
    from audit.report.figures import evidence_figure, race_figure, scores_figure, strata_figure

    if data.outcome is None or not data.outcome.scores:
        return {}
    last, score = data.outcome.scores[0], crafted_score(data.outcome)
    figures: dict[str, str] = {}
    if data.bundle is not None and last.line_up is not None:
        rule = record_rule(data.record, data.bundle)
        found = race_of(data.bundle, data.record.answers, last.name, rule)
        if found is not None:
            figures["race"] = race_figure(
                found.race.leads, found.source, alternative=_race_in_words(last.line_up)
            )
    if data.bundle is not None and score.line_up is None:
        groups, num_innocent = _groups(data, score)
        figures["scores"] = scores_figure(
            groups,
            num_innocent=num_innocent,
            suspect=score.value,
            derived_above=score.derived_above,
            independent_below=score.independent_below,
            label=SCORE_WORDS[score.name].unit,
            alternative=_scores_in_words(score, groups, num_innocent),
        )
    evidence = data.evidence
    if data.bundle is not None and evidence is not None and score.name == evidence.score:
        roles = [model.role for model in data.bundle.manifest.calibration_models]
        models, settling = evidence.models, SCORE_WORDS[score.name].settling
        above, below = _boundaries(data, score, len(evidence.suspect))
        figures["evidence"] = evidence_figure(
            evidence.suspect,
            models[[role == "innocent" for role in roles]],
            models[[role == "derived" for role in roles]],
            derived_above=above,
            independent_below=below,
            label=settling,
            alternative=(
                f"{settling.capitalize()} after 1 to {len(evidence.suspect)} queries. "
                f"The suspect ends at {score.value:z.3f}. Bands show the range of the innocent and "
                "derived models."
            ),
        )
    if score.strata:
        alpha = data.record.opening.bundle.manifest.alpha
        told = ", ".join(f"{name} {value:.3g}" for name, value in score.strata.items())
        figures["strata"] = strata_figure(
            {shown(name): value for name, value in score.strata.items()},
            alpha=alpha,
            alternative=f"P-value by kind of innocent models: {told}.",
        )
    return {name: Markup(figure) for name, figure in figures.items()}


def _boundaries(
    data: ReportData, score: ScoreOutcome, num_queries: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the score ran between, query by query, ``[Q]`` each."""
    assert data.bundle is not None
    rule = record_rule(data.record, data.bundle)
    found = path_boundaries(data.bundle, rule, score.name)
    if found is not None:
        return found.derived[:num_queries], found.independent[:num_queries]
    above, below = score.derived_above, score.independent_below
    return (
        np.full(num_queries, np.inf if above is None else above),
        np.full(num_queries, -np.inf if below is None else below),
    )


def _groups(data: ReportData, score: ScoreOutcome) -> tuple[dict[str, list[float]], int]:
    assert data.bundle is not None
    found = compare(data.bundle, data.record.answers, score.name, num_first=score.stopped_after)
    pairs = found.by_model(data.bundle)
    kinds = sorted({(model.role != "innocent", model.stratum) for model, _ in pairs})
    groups = {
        f"{'derived' if is_derived else 'innocent'}: {shown(stratum)}": [
            value
            for model, value in pairs
            if (model.role != "innocent", model.stratum) == (is_derived, stratum)
        ]
        for is_derived, stratum in kinds
    }
    return groups, sum(not is_derived for is_derived, _ in kinds)


def _scores_in_words(score: ScoreOutcome, groups: dict[str, list[float]], num_innocent: int) -> str:
    values = list(groups.values())
    innocent = [value for group in values[:num_innocent] for value in group]
    derived = [value for group in values[num_innocent:] for value in group]
    told = [f"The suspect's score is {score.value:z.3f}."]
    for name, found in (("innocent", innocent), ("derived", derived)):
        if found:
            told.append(
                f"{len(found)} {name} models score from {min(found):z.3f} to {max(found):z.3f}."
            )
    if score.derived_above is not None:
        told.append(f"Above {score.derived_above:z.3f} a suspect counts as derived.")
    return " ".join(told)


def _race_in_words(found: LineUpOutcome) -> str:
    source = found.leads[found.source]
    siblings = [lead for place, lead in enumerate(found.leads) if place != found.source]
    return (
        f"How {len(found.leads)} members of the line-up do as questions are answered. The source "
        f"ends {source:+.1f} nats from their mean, its siblings {min(siblings):+.1f} to "
        f"{max(siblings):+.1f}."
    )


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def _layer_lines(data: ReportData) -> list[str]:
    rows = layer_rows(
        data.record.opening.bundle.manifest.weights,
        data.outcome.weights if data.outcome else None,
    )
    return [
        f"- {_md(row.name)}: {'none' if row.similarity is None else format(row.similarity, 'z.3f')}"
        for row in rows
    ]


def _score_lines(scores: tuple[ScoreOutcome, ...]) -> list[str]:
    if not scores:
        return []
    return [
        "| score | value | derived above | independent below | p | smallest p | verdict |",
        "|---|---|---|---|---|---|---|",
        *[_score_row(score) for score in scores],
        "",
        *[f"- {score.name}: {_md(score.reason)}" for score in scores],
    ]


def _score_row(score: ScoreOutcome) -> str:
    above = "-" if score.derived_above is None else f"{score.derived_above:.4f}"
    below = "-" if score.independent_below is None else f"{score.independent_below:.4f}"
    return (
        f"| {score.name} | {score.value:.4f} | {above} | {below} | {score.p_value:.4g} | "
        f"{score.smallest_p_value:.4g} | {score.verdict} |"
    )


def _md(text: str) -> str:
    escaped = shown(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return str(escaped)
