"""``kinprint endpoint``: write the file that describes an API, and try it before an audit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text
from audit.commands.consent import allow_option, opened_with_consent
from audit.commands.terminal.next_command import next_command

if TYPE_CHECKING:
    from adapters.http.suspect import HttpEndpoint
    from audit.endpoint.altered_images import Alteration
    from audit.endpoint.check import EndpointCheck, Exchange

DEFAULT_NUM = 20
"""Control images that a check asks."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


def _print_schema(ctx: click.Context, param: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        from audit.documents.check_document import schema_text

        click.echo(schema_text(), nl=False)
        ctx.exit()


@click.group("endpoint", short_help="Write and check the file that describes an API.")
def command() -> None:
    """Write the file that describes an API, and try it on control images before an audit."""


@command.command("new", short_help="Write a commented endpoint file to start from.")
@click.argument("wire_format", metavar="[FORMAT]", required=False)
@click.option(
    "--curl",
    metavar="COMMAND",
    help="Make the file from this curl command instead; - reads it from standard input.",
)
@click.option(
    "--openapi",
    "openapi_path",
    metavar="FILE",
    type=_EXISTING,
    help="Make the file from an API's own description (OpenAPI), beside --path.",
)
@click.option("--path", "place", metavar="PATH", help="Which of the API's paths, as in /predict.")
@click.option(
    "-o",
    "--out",
    "out_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; standard output if absent.",
)
@click.option(
    "--bundle",
    "bundle_path",
    type=_EXISTING,
    help="Bundle whose classes and normalisation go into the file.",
)
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that may have signed.")
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
def new(
    wire_format: str | None,
    curl: str | None,
    openapi_path: Path | None,
    place: str | None,
    out_path: Path | None,
    bundle_path: Path | None,
    trust: tuple[Path, ...],
    force: bool,
) -> None:
    """Write a commented endpoint file for FORMAT, or one for a curl command or a described API.

    An unknown FORMAT names the known ones. Whatever stands in capitals in the address is yours to
    fill in. A secret in a curl command is not written: the file names a variable that is to hold
    it. What nobody could know stands as FILL_IN in the file, and "endpoint check" names it.
    """
    from audit.atomic_file import write_atomically
    from audit.bundle.bundle_file import read_bundle
    from audit.endpoint.template import endpoint_template
    from audit.signing.keys import load_trust

    if sum(each is not None for each in (wire_format, curl, openapi_path)) != 1:
        raise click.UsageError("expected one of FORMAT, --curl and --openapi")
    if (openapi_path is None) != (place is None):
        raise click.UsageError("expected --openapi and --path together")
    if out_path is not None and out_path.exists() and not force:
        raise click.UsageError(f"{out_path} exists; --force replaces it")
    names, preprocessing = None, None
    if bundle_path is not None:
        manifest = read_bundle(bundle_path, load_trust(trust)).manifest
        names = manifest.task.class_names
        preprocessing = manifest.preprocessing
    told: tuple[str, ...] = ("fill in the address",)
    if wire_format is not None:
        text = endpoint_template(wire_format, names, preprocessing)
    else:
        text, told = _known(curl, openapi_path, place, names)
    if out_path is None:
        click.echo(text, nl=False)
        for each in told if wire_format is None else ():
            click.echo(each, err=True)
        return
    try:
        write_atomically(out_path, [text.encode()])
    except OSError as error:
        raise click.FileError(str(out_path), error.strerror) from error
    bundle = bundle_path or "BUNDLE"
    then = next_command("endpoint", "check", out_path, "--bundle", bundle, trust=trust)
    click.echo(f"wrote {out_path}; {'; '.join(told)}, then: {then}", err=True)


def _known(
    curl: str | None, openapi_path: Path | None, place: str | None, names: tuple[str, ...] | None
) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file for a request that is known, and what its user has to do."""
    import sys

    from adapters.http.endpoint_file import FILL_IN
    from audit.endpoint.curl_command import read_curl
    from audit.endpoint.known_request import endpoint_text
    from audit.endpoint.open_api import read_open_api

    if curl is not None:
        request = read_curl(sys.stdin.read() if curl == "-" else curl)
    else:
        assert openapi_path is not None
        assert place is not None
        request = read_open_api(openapi_path, place)
    text = endpoint_text(request, names)
    told = []
    if FILL_IN in text:
        told.append(f"fill in what it says {FILL_IN} at")
    if request.auth is not None:
        told.append(f"put the secret into the environment variable {request.auth.env}")
    if request.oauth2:
        variable = request.oauth2["client_secret_env"]
        told.append(f"put the client's secret into the environment variable {variable}")
    if phrase := request.client_certificate.get("passphrase_env"):
        told.append(f"put the key's passphrase into the environment variable {phrase}")
    return text, tuple(told or ["look at it"])


@command.command("check", short_help="Try an endpoint file on control images.")
@click.argument("path", metavar="FILE", type=_EXISTING)
@click.option("--bundle", "bundle_path", required=True, type=_EXISTING, help="Whose controls.")
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that may have signed.")
@click.option(
    "--num",
    type=click.IntRange(min=1),
    default=DEFAULT_NUM,
    show_default=True,
    help="Control images to ask.",
)
@click.option("--ca-bundle", type=_EXISTING, help="PEM file of authorities.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Let credentials travel to another machine over plain HTTP.",
)
@allow_option
@click.option("--yes", is_flag=True, help="Start without asking, whatever it costs.")
@click.option(
    "--infer-classes",
    is_flag=True,
    help="Find the order of the endpoint's classes in the same answers.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option(
    "--json-schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of that document and end.",
)
@click.option("--quiet", is_flag=True, help="Do not say before what it takes.")
def check(
    path: Path,
    bundle_path: Path,
    trust: tuple[Path, ...],
    num: int,
    ca_bundle: Path | None,
    insecure: bool,
    allow: tuple[str, ...],
    yes: bool,
    infer_classes: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Ask control images and show what is sent, what comes back and how good it is.

    No trigger and no query is sent. Some images are asked once more as JPEG and enlarged. Nothing
    is journaled: an audit asks its control images anew.

    Exit status: 0 an audit could go on, 2 the file is wrong, 12 the endpoint throttles, 14 it
    cannot be reached or gives no usable answers, 15 too few control images are right.
    """
    from adapters.http.suspect import HttpEndpoint
    from audit.bundle.bundle_file import read_bundle
    from audit.endpoint.check import Exchange, check_endpoint, check_plan
    from audit.exit_codes import ExitCode
    from audit.signing.keys import load_trust
    from audit.suspects.opening import open_remote

    bundle = read_bundle(bundle_path, load_trust(trust))

    endpoint = opened_with_consent(
        path,
        allow,
        lambda allow: open_remote(
            bundle,
            path,
            ca_bundle=ca_bundle,
            allow_plain_http=insecure,
            allow=allow,
            looks_up=True,
        ),
    )
    assert isinstance(endpoint, HttpEndpoint), "opened with all that it tells"
    try:
        _announce(
            f"{path.name}: the check {check_plan(bundle, endpoint, num).text}",
            is_free=endpoint.tariff.is_free,
            is_agreed=yes,
            is_quiet=quiet,
        )

        def show(first: Exchange) -> None:
            _print_exchange(endpoint, first)

        found = check_endpoint(
            bundle, endpoint, num, None if as_json else show, infer_classes=infer_classes
        )
        if as_json:
            from audit.documents.check_document import check_document

            click.echo(json_text(check_document(endpoint, found).model_dump_json(indent=2)))
        else:
            _print(found)
    finally:
        endpoint.close()
    return ExitCode.OK if found.is_comparable else ExitCode.NOT_COMPARABLE


def _announce(told: str, *, is_free: bool, is_agreed: bool, is_quiet: bool) -> None:
    """Say what the check takes, and ask at a terminal whether to start where it costs money."""
    import sys

    must_ask = not is_free and not is_agreed and sys.stdin.isatty() and sys.stderr.isatty()
    if must_ask or not is_quiet:
        click.echo(told, err=True)
    if must_ask and not click.confirm("Start?", default=False, err=True):
        raise click.ClickException("not started; nothing was sent")


def _print_exchange(endpoint: "HttpEndpoint", first: "Exchange") -> None:
    """Print the first request and its answer as soon as there are both: it may fail after that."""
    from audit.endpoint.shown_exchange import answer_lines, request_lines

    for title, lines in (
        ("request", request_lines(endpoint, first)),
        ("answer", answer_lines(endpoint, first)),
    ):
        click.echo(f"first {title}:")
        for line in lines:
            click.echo(f"  {line}".rstrip())
        click.echo()


def _print(found: "EndpointCheck") -> None:
    from audit.endpoint.template import class_table

    low, high = found.interval
    click.echo(
        f"controls     {found.num_correct} of {found.num_images} right, {found.accuracy:.0%} "
        f"(95 % interval {low:.0%} to {high:.0%}); the source: {found.source_accuracy:.0%}, "
        f"needed: {found.min_accuracy:.0%}"
    )
    if found.class_order is not None:
        order, *doubts = found.class_order.sentences
        click.echo(f"classes      {order.partition(': ')[2]}")
        for doubt in doubts:
            click.echo(f"             {doubt}")
    if found.num_refused:
        click.echo(f"refused      {found.num_refused} images got no class")
    for unclear in found.unclear:
        click.echo(f"unclear      {unclear.num} answers {unclear.doubt}, and count as refused:")
        for example in unclear.examples:
            click.echo(f"             {example!r}")
    click.echo(
        f"latency      median {_duration(found.latency_median_s)}, 95th percentile "
        f"{_duration(found.latency_p95_s)} ({_asked(found)})"
    )
    click.echo(f"answers      {_CAPABILITIES[found.capability.name]}")
    if found.advice:
        click.echo(f"             {found.advice}")
    for each in found.alterations:
        click.echo(f"{each.name:<12} {_alteration(each)}")
    for note in found.notes:
        click.echo(f"note         {note}")
    for name, value in found.metadata.items():
        click.echo(f"said         {name}: {value}")
    click.echo(f"whole audit  {found.audit.text}")
    click.echo()
    if found.class_names:
        click.echo("The endpoint has the classes in another order. Write as class_names:\n")
        click.echo(class_table(found.class_names))
        click.echo("\nor let the audit find it, too: kinprint audit --infer-classes\n")
    if found.is_comparable:
        click.echo("An audit can go on from here.")
        return
    click.echo("An audit would stop here: too few control images are right.")
    for cause in found.likely_causes:
        click.echo(f"  - {cause}")


def _asked(found: "EndpointCheck") -> str:
    """Say how many requests the latencies are from, and how many images went into one."""
    if found.num_requests == 1:
        return f"1 request with {found.num_images} images"
    if found.num_requests < found.num_images:
        size = found.exchange.num_images
        return f"{found.num_requests} requests with up to {size} images, one after another"
    return f"{found.num_requests} requests, one after another"


_CAPABILITIES = {
    "LABELS": "labels",
    "TOP_K": "the likeliest classes, in their order",
    "PROBABILITIES": "probabilities of all classes",
}


def _alteration(each: "Alteration") -> str:
    """Say what became of altered images, and what that means for the endpoint file."""
    if each.refusal is not None:
        size = "in twice the size " if each.name == "enlarged" else ""
        return f"not taken {size}({each.refusal})"
    told = f"{each.num_changed} of {each.num_images} labels change"
    if each.largest_shift is not None:
        told += f", probabilities by at most {each.largest_shift:.2g}"
    told += f"; {each.num_correct} of {each.num_images} right"
    if each.name == "jpeg":
        return f"{told}. Triggers suffer more than these: send PNG."
    if each.num_changed:
        return f"{told}. Size matters: send images in the size that the model takes."
    return f"{told}. The endpoint resizes for itself, or does not mind."


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
