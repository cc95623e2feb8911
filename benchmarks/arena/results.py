"""What an arena leaves behind: tables as Markdown and JSON, pictures, settings and machine."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.arena.asking import Asked
from benchmarks.arena.bounds import bounds_page, bounds_table
from benchmarks.arena.build import Population
from benchmarks.arena.config import ArenaConfig
from benchmarks.arena.heads import draw_heads
from benchmarks.arena.plots import draw_accuracy, draw_heat_map, draw_noise, draw_roc
from benchmarks.arena.stealth import PAPER_RECALL, Seen
from benchmarks.arena.tables import (
    PAPER_AUC,
    Column,
    as_json,
    auc_by_accuracy,
    auc_by_kind,
    auc_by_suspect,
    columns,
    decisions,
    group_of,
    in_words,
    is_collapsed,
    markdown_table,
    separation_table,
)
from benchmarks.arena.uniqueness import uniqueness_score
from benchmarks.results_file import machine

_WEIGHTS = ("weight changes", "deployment changes")
_HEAT_MAPS = {
    "weight changes": "attacks",
    "deployment changes": "deployment",
    "input processing": "input-processing",
}
_MAIN = {
    "derived from weights": _WEIGHTS,
    "extraction": ("extraction",),
    "input processing": ("input processing",),
    "ensembles": ("ensembles",),
}


def write_arena(
    config: ArenaConfig,
    population: Population,
    bundles: Mapping[str, Path],
    rows: Sequence[Asked],
    seen: Sequence[Seen],
    folder: Path,
) -> str:
    """Write everything and return the tables as Markdown.

    Args:
        config: What was wanted.
        population: Who was there.
        bundles: Files by fingerprint name.
        rows: What they scored.
        seen: What detectors saw.
        folder: Where it goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    below = config.collapsed_below
    order = [one.name for one in config.fingerprint]
    found = columns(sorted(rows, key=lambda row: order.index(row.bundle)))
    pages = [f"# Arena {config.name}\n", _population_page(population, rows, below)]
    figures: dict[str, object] = {}
    for title, groups in _MAIN.items():
        tables = {
            column.title: separation_table(column, groups, below=below, seed=config.seed)
            for column in found
        }
        tables = {name: table for name, table in tables.items() if table}
        figures[title] = {name: as_json(table) for name, table in tables.items()}
        measures = ["AUC", "ARUC", "TPR at 1 % FPR", "TPR at 10 % FPR", "EER"]
        pages.append(
            f"## Against all innocents: {title}\n\n"
            + markdown_table(
                ["score", *measures, "AUC in the paper"],
                [
                    [name, *(in_words(table.get(measure)) for measure in measures), _paper(name)]
                    for name, table in tables.items()
                ],
            )
        )
    pages.append(_attacks_page(found, folder, below, figures))
    for column in found:
        pages.append(_bands_page(column, figures))
    for column in found:
        bounds = bounds_table(column, bundles[column.bundle], below=below)
        if bounds:
            pages.append(bounds_page(column.title, bounds))
    for name in dict.fromkeys(row.bundle for row in rows):
        pages.append(_decisions_page(name, [row for row in rows if row.bundle == name], figures))
    pages.append(_stealth_page(seen))
    pages.append(_uniqueness_page(found, below, figures))
    pages.append(_suspects_page(found, below))
    draw_roc(found, folder / "roc.png", below=below)
    draw_accuracy(found[0], folder / "score-against-accuracy.png")
    draw_heads(population, folder / "heads.png", seed=config.seed)
    text = "\n".join(pages)
    (folder / "README.md").write_text(text, encoding="utf-8")
    document = {
        "config": config.model_dump(mode="json"),
        "machine": machine(),
        "libraries": {
            name: importlib.metadata.version(name)
            for name in ("numpy", "torch", "onnxruntime-gpu", "scipy")
        },
        "seconds_to_make_the_models": sum(one.seconds for one in population.built),
        "figures": figures,
        "detectors": [row.model_dump(mode="json") for row in seen],
        "suspects": [row.model_dump(mode="json") for row in rows],
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return text


def _paper(title: str) -> str:
    known = PAPER_AUC.get(title.rpartition(": ")[2]) or PAPER_AUC.get(title)
    return "" if known is None else f"{known:.2f}"


def _population_page(population: Population, rows: Sequence[Asked], below: float) -> str:
    by_kind: dict[tuple[str, str], list[float]] = {}
    for one in population.built:
        by_kind.setdefault((one.member.role, one.member.kind), []).append(one.accuracy)
    first = [row for row in rows if row.bundle == rows[0].bundle]
    num_collapsed = sum(is_collapsed(row, below) for row in first)
    told = (
        f"{sum(row.is_derived for row in first)} derived and "
        f"{sum(not row.is_derived for row in first)} independent suspects; {num_collapsed} of them "
        f"have less than {below:.0%} of the source's accuracy and are left out of the figures "
        "(the last table shows them). Intervals: 95 %, bootstrap over kinds.\n"
    )
    table = markdown_table(
        ["role", "kind", "models", "accuracy"],
        [
            [role, kind, str(len(values)), f"{min(values):.1%} to {max(values):.1%}"]
            for (role, kind), values in by_kind.items()
        ],
    )
    return f"{told}\n## Population\n\n{table}"


def _attacks_page(
    found: Sequence[Column], folder: Path, below: float, figures: dict[str, object]
) -> str:
    tables = {column.title: auc_by_kind(column, below=below) for column in found}
    kinds = list(dict.fromkeys(kind for table in tables.values() for kind in table))
    groups = {row.kind: group_of(row) for column in found for row in column.rows if row.is_derived}
    for group, file in _HEAT_MAPS.items():
        shown = [kind for kind in kinds if groups[kind] == group]
        grid = [[table.get(kind, (np.nan, 0))[0] for kind in shown] for table in tables.values()]
        draw_heat_map(list(tables), shown, grid, folder / f"{file}.png")
    students = {column.title: auc_by_suspect(column, "extraction", below=below) for column in found}
    names = list(dict.fromkeys(name for table in students.values() for name in table))
    grid = [[table.get(name, np.nan) for name in names] for table in students.values()]
    draw_heat_map(list(students), names, grid, folder / "extraction.png")
    figures["AUC by extracted model"] = students
    figures["AUC by attack"] = {
        name: {kind: value for kind, (value, _) in table.items()} for name, table in tables.items()
    }
    noise = {
        name: {
            float(kind.removeprefix("DP-Logits ")): value
            for kind, (value, _) in table.items()
            if kind.startswith("DP-Logits") and not kind.endswith("fixed")
        }
        for name, table in tables.items()
    }
    draw_noise(found, noise, folder / "dp-logits.png")
    return "## AUC by attack, against all innocents\n\n" + markdown_table(
        ["attack", "suspects", *tables],
        [
            [
                kind,
                str(max(table.get(kind, (0, 0))[1] for table in tables.values())),
                *(f"{table[kind][0]:.3f}" if kind in table else "" for table in tables.values()),
            ]
            for kind in kinds
        ],
    )


def _bands_page(column: Column, figures: dict[str, object]) -> str:
    bands = auc_by_accuracy(column, (*_WEIGHTS, "extraction"))
    figures[f"AUC by accuracy: {column.title}"] = bands
    return f"## AUC within accuracy bands: {column.title}\n\n" + markdown_table(
        ["accuracy", "derived", "independent", "AUC"],
        [
            [f"{start:.0%} to {start + 0.05:.0%}", str(guilty), str(cleared), f"{area:.3f}"]
            for start, guilty, cleared, area in bands
        ],
    )


def _decisions_page(name: str, rows: Sequence[Asked], figures: dict[str, object]) -> str:
    table = decisions(rows)
    figures[f"verdicts: {name}"] = table
    header = list(next(iter(table.values())))
    return f"## Verdicts of audits that stop early: {name}\n\n" + markdown_table(
        ["suspects", *header],
        [[kind, *(_cell(row[column]) for column in header)] for kind, row in table.items()],
    )


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:.0%} to {value[1]:.0%}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stealth_page(seen: Sequence[Seen]) -> str:
    return (
        "## Who would notice: recall at 1 % and 5 % of clean images, and AUROC\n\n"
        + markdown_table(
            [
                "images",
                "detector",
                "images sent",
                "recall at 1 %",
                "recall at 5 %",
                "AUROC",
                "paper",
            ],
            [
                [
                    row.images,
                    row.detector,
                    str(row.num_images),
                    f"{row.recall_at_1:.2f}",
                    f"{row.recall_at_5:.2f}",
                    f"{row.auroc:.2f} ({row.auroc_interval[0]:.2f} to {row.auroc_interval[1]:.2f})",
                    _paper_recall(row),
                ]
                for row in sorted(seen, key=lambda row: (row.images, row.detector))
            ],
        )
        + "\nThe paper's figures are the recall of MFUE's Table 2 on CIFAR-100.\n"
    )


def _paper_recall(row: Seen) -> str:
    method = "mfue-w" if row.images.endswith("MFUE triggers") else row.images
    known = PAPER_RECALL.get(row.detector, {}).get(method)
    return "" if known is None else f"{known:.2f}"


def _uniqueness_page(found: Sequence[Column], below: float, figures: dict[str, object]) -> str:
    lines = []
    for column in found:
        if column.score != "matching-rate":
            continue
        kept = [row for row in column.rows if not is_collapsed(row, below)]
        pruned = [
            row.scores[column.score] for row in kept if row.is_derived and row.kind == "pruned"
        ]
        others = [row.scores[column.score] for row in kept if not row.is_derived]
        if pruned and others:
            score = uniqueness_score(np.array(pruned), np.array(others))
            figures[f"uniqueness: {column.title}"] = score
            lines.append([column.title, *(f"{value:.3f}" for value in score)])
    return "## Uniqueness Score (Wang et al., IJCAI 2021)\n\n" + markdown_table(
        ["fingerprint", "uniqueness", "robustness", "transferability"], lines
    )


def _suspects_page(found: Sequence[Column], below: float) -> str:
    shown: dict[str, Asked] = {}
    scores: dict[str, dict[str, float]] = {}
    for column in found:
        for row in column.rows:
            shown.setdefault(row.suspect, row)
            scores.setdefault(row.suspect, {})[column.title] = row.scores[column.score]
    titles = [column.title for column in found]
    return "## Every suspect\n\n" + markdown_table(
        ["suspect", "group", "kind", "accuracy", "collapsed", *titles],
        [
            [
                name,
                group_of(row),
                row.kind,
                f"{row.control_accuracy:.0%}",
                "yes" if is_collapsed(row, below) else "",
                *(f"{scores[name][t]:.3f}" if t in scores[name] else "" for t in titles),
            ]
            for name, row in shown.items()
        ],
    )
