"""Checks what a user typed into the form of a new audit, as far as it goes without asking anybody.

Runs in a thread on every change. Opening an endpoint sends nothing, so that a missing secret or a
wrong class map is told before the audit begins; a model file is only opened when it begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from adapters.attempts import watchable
from adapters.endpoint.grants import NotGrantedError
from adapters.suspect import Capability, SuspectError
from adapters.tariff import SpendingLimits
from audit.asking.cost import affordable_questions, estimate
from audit.asking.options import AuditOptions
from audit.asking.plan import Plan, default_scores, make_plan
from audit.bundle.inspection import SignatureState
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.from_journal import StoredAudit, draft_record
from audit.records.record import State
from audit.scores.query_scores import MEAN_SCORES
from audit.suspects.found_files import FoundBundle, FoundSuspect, SuspectKind, describe_suspect
from audit.suspects.opening import open_remote
from audit.tui.desk import Desk
from audit.tui.library import Library, read_audits
from audit.tui.running import Order
from audit.tui.widgets.suspect_table import name_in_journal
from audit.tui.words import size
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.rule import choose_rule

COPIES = "copies"
"""In the place of a score: the crafted queries and no line-up."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What stands in the fields."""

    bundle: str
    suspect: str
    score: str = ""
    """Empty for the bundle's own; `COPIES`."""
    labels_only: bool = False
    alpha: str = ""
    beta: str = ""
    stop_early: bool = False
    budget: str = ""
    rate: str = ""
    max_cost: str = ""
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What can be said about a form."""

    order: Order | None
    """None as long as something is wrong."""
    problems: Mapping[str, str]
    """By field."""
    notes: Mapping[str, str]
    """By field, where nothing is wrong."""
    summary: str
    """What the audit will ask and take."""
    kind: SuspectKind | None
    unfinished: StoredAudit | None
    """An audit of the pair that can go on."""


class _Checking:
    """Collects problems and notes."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.summary = ""


def check_form(form: Form, desk: Desk, library: Library) -> Checked:
    """Check a form; whatever is wrong is told by field, nothing is raised."""
    checking = _Checking()
    bundle = _check_bundle(form, desk, library, checking)
    suspect = _check_suspect(form, desk, checking)
    budget = _budget(form.budget, checking)
    alpha = _rate(form.alpha, "alpha", checking)
    beta = _rate(form.beta, "beta", checking)
    rate = _rate(form.rate, "rate", checking, example="2.5")
    max_cost = _money(form.max_cost, checking)
    unfinished = None
    order: Order | None = None
    if bundle is not None and bundle.contents is not None and suspect is not None:
        contents = bundle.contents
        order = Order(
            bundle=contents,
            bundle_path=bundle.path,
            suspect=suspect,
            options=AuditOptions(
                scores=() if form.score in ("", COPIES) else (form.score,),
                look_for="copies" if form.score == COPIES else None,
                alpha=alpha,
                beta=beta,
                stop_early=form.stop_early,
                budget=budget,
                limits=SpendingLimits(max_cost=max_cost),
            ),
            labels_only=form.labels_only,
            rate=rate,
        )
        _check_rates(order, checking)
        unfinished = _unfinished(order, desk, checking)
        if form.resume and unfinished is not None:
            order = _as_begun(order, unfinished, desk, checking)
        _check_plan(order, desk, checking)
    return Checked(
        order=None if checking.problems else order,
        problems=checking.problems,
        notes=checking.notes,
        summary=checking.summary,
        kind=None if suspect is None else suspect.kind,
        unfinished=unfinished,
    )


def _check_bundle(
    form: Form, desk: Desk, library: Library, checking: _Checking
) -> FoundBundle | None:
    if not form.bundle.strip():
        checking.problems["bundle"] = "which bundle? a .kinprint file"
        return None
    try:
        found = library.bundle(_path(form.bundle, desk), desk.trust())
    except AuditError as error:
        checking.problems["bundle"] = str(error)
        return None
    if found.state is SignatureState.UNTRUSTED:
        checking.problems["bundle"] = "signed by a key that is not trusted: Ctrl+T trusts a key"
        return None
    if found.contents is None:
        checking.problems["bundle"] = found.reason.splitlines()[0]
        return None
    checking.notes["bundle"] = f"trusted: {found.contents.manifest.model_name}"
    return found


def _check_suspect(form: Form, desk: Desk, checking: _Checking) -> FoundSuspect | None:
    if not form.suspect.strip():
        checking.problems["suspect"] = "which suspect? an ONNX file or an endpoint TOML"
        return None
    path = _path(form.suspect, desk)
    if not path.is_file():
        checking.problems["suspect"] = "no such file"
        return None
    found = describe_suspect(path)
    if found is None:
        checking.problems["suspect"] = "neither an ONNX file nor a TOML about a suspect"
        return None
    if found.problem:
        checking.problems["suspect"] = found.problem.splitlines()[0]
        return None
    told = size(found.num_bytes) if found.kind is SuspectKind.ONNX else found.target
    checking.notes["suspect"] = f"{found.kind.value}: {told}"
    return found


def _check_rates(order: Order, checking: _Checking) -> None:
    manifest, options = order.bundle.manifest, order.options
    checking.notes.setdefault("alpha", "innocents accused, at most")
    checking.notes.setdefault("beta", "derived models missed, at most")
    for name, alpha, beta in (("alpha", options.alpha, None), ("beta", None, options.beta)):
        if name in checking.problems:
            continue
        try:
            choose_rule(
                manifest,
                alpha=alpha,
                beta=beta,
                stop_early=False,
                in_steps=_decides_in_steps(order),
            )
        except AuditError as error:
            checking.problems[name] = str(error).partition(": ")[2]


def _check_plan(order: Order, desk: Desk, checking: _Checking) -> None:
    try:
        if order.suspect.kind is SuspectKind.ENDPOINT:
            checking.summary = _endpoint_plan(order, desk)
        else:
            plan = _planned(order.bundle, order, _assumed_capability(order))
            checking.summary = f"{_in_words(plan, order)}."
    except NotGrantedError as error:
        wanted = "; ".join(need.told for need in error.needs)
        checking.summary = f"Start asks you first: {order.suspect.path.name} wants to use {wanted}."
    except SuspectError as error:
        field, _, told = str(error).splitlines()[0].partition(": ")
        if field == "rate":
            checking.problems["rate"] = told
        else:
            checking.problems["suspect"] = str(error).splitlines()[0]
    except AuditError as error:
        field, _, told = str(error).partition(": ")
        known = {"score": "score", "look-for": "score", "budget": "budget", "max_cost": "max_cost"}
        checking.problems[known.get(field, "budget")] = told or str(error)


def _endpoint_plan(order: Order, desk: Desk) -> str:
    endpoint = open_remote(
        order.bundle,
        order.suspect.path,
        labels_only=order.labels_only,
        rate=order.rate,
        allow=desk.allow,
    )
    try:
        plan = _planned(order.bundle, order, endpoint.capability)
        told = _in_words(plan, order)
        if (watched := watchable(endpoint)) is not None:
            priced = estimate(plan, endpoint.batch_size, watched, in_steps=_decides_in_steps(order))
            told += f". It {priced.text}"
            limits = watched.limits.unless(order.options.limits)
            if limits.are_set:
                reach = affordable_questions(plan, endpoint.batch_size, watched.tariff, limits)
                if reach is not None:
                    told += f". The limit reaches for {reach} of them"
        return f"{told}."
    finally:
        endpoint.close()


def _assumed_capability(order: Order) -> Capability:
    return Capability.LABELS if order.labels_only else Capability.PROBABILITIES


def _planned(bundle: BundleContents, order: Order, capability: Capability) -> Plan:
    scores = order.options.scores or default_scores(
        bundle,
        is_file=order.suspect.kind is not SuspectKind.ENDPOINT,
        capability=capability,
        look_for=order.options.look_for,
    )
    return make_plan(bundle, scores, capability).within(order.options.budget)


def _in_words(plan: Plan, order: Order) -> str:
    controls, *others = plan.groups
    counts: dict[str, int] = {}
    for group in others:
        kind = group.kind.partition("/")[0]
        counts[kind] = counts.get(kind, 0) + group.num_questions
    words = {
        "query": "queries",
        "trigger": "triggers",
        "probe": "probes",
        "line-up": "line-up images",
    }
    in_steps = _decides_in_steps(order)
    scored = " and ".join(
        f"{'if no copy is found, ' if in_steps and kind == LINE_UP else ''}{num} {words[kind]}"
        for kind, num in counts.items()
    )
    told = f"{controls.num_questions} control images first, then {scored}"
    stops = order.options.stop_early and plan.scores[0] in (*MEAN_SCORES, LINE_UP)
    return f"{told}; stops as soon as the verdict is certain" if stops else told


def _decides_in_steps(order: Order) -> bool:
    return order.options.decides_in_steps(order.bundle.manifest)


def _unfinished(order: Order, desk: Desk, checking: _Checking) -> StoredAudit | None:
    name = name_in_journal(order.suspect)
    try:
        audits = read_audits(desk.journal)
    except AuditError as error:
        checking.problems["suspect"] = str(error)
        return None
    for audit in audits:
        if (
            audit.state is not State.COMPLETE
            and audit.bundle == order.bundle.manifest_sha256
            and audit.suspect == name
        ):
            checking.notes["resume"] = (
                f"an audit of this pair has {audit.num_answers} answers ({audit.state.value})"
            )
            return audit
    return None


def _as_begun(order: Order, audit: StoredAudit, desk: Desk, checking: _Checking) -> Order:
    try:
        journal = Journal(desk.journal)
        try:
            settings = draft_record(journal, audit.audit).opening.settings
        finally:
            journal.close()
        begun = order.as_begun(settings)
    except AuditError as error:
        checking.problems["resume"] = str(error)
        return order
    for field in ("score", "labels_only", "alpha", "beta", "stop_early"):
        checking.problems.pop(field, None)
        checking.notes[field] = "as the audit began"
    return begun


def _budget(text: str, checking: _Checking) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        checking.problems["budget"] = f"expected a whole number of images, got {text!r}"
        return None
    return int(text)


def _rate(text: str, field: str, checking: _Checking, *, example: str = "0.05") -> float | None:
    text = text.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        checking.problems[field] = f"expected a rate such as {example}, got {text!r}"
        return None


def _money(text: str, checking: _Checking) -> Decimal | None:
    text = text.strip()
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        checking.problems["max_cost"] = f"expected an amount such as 2.50, got {text!r}"
        return None
    if not amount.is_finite() or amount <= 0:
        checking.problems["max_cost"] = f"expected more than 0, got {text}"
        return None
    return amount


def _path(text: str, desk: Desk) -> Path:
    return desk.folder / Path(text.strip()).expanduser()
