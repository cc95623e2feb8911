"""An API's own description (OpenAPI 3, Swagger 2) read as the request that asks one of its paths.

Only what the description says becomes part of the endpoint file; where it leaves something open,
the file says ``FILL_IN``. The places of class and scores in the answer are taken from the schema of
the answer where its fields have one of the usual names.

Source: OpenAPI Specification 3.1.1 and 2.0.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from adapters.endpoint.written_secrets import is_secret_field
from adapters.extras import require
from adapters.http.endpoint_file import FILL_IN
from adapters.printable import excerpt, printable
from audit.endpoint.known_request import (
    ARRAY,
    IMAGE,
    WHERE_THE_IMAGE_GOES,
    KnownAuth,
    KnownBody,
    KnownRequest,
    secret_left,
    variable_for,
)
from audit.errors import AuditError

MAX_BYTES = 16 << 20
MAX_REFERENCES = 32
"""That follow one another; more are a circle."""
_LABELS = ("label", "class", "class_name", "classname", "prediction", "predicted_class", "category")
_SCORES = ("probabilities", "probs", "scores", "confidences")
_ROWS = ("predictions", "results", "outputs", "labels", "classes", "data", "result", "output")
_IMAGE_WORDS = ("image", "img", "photo", "picture", "file", "b64", "base64", "instances", "inputs")
_Document = Mapping[str, Any]


def read_open_api(path: Path, place: str) -> KnownRequest:
    """Read how to ask one path of an API.

    Args:
        path: The description, JSON or YAML.
        place: Of ``paths`` in it, such as ``/predict``.

    Raises:
        AuditError: The file is no such description, or does not describe that path.
    """
    document = _read(path)
    try:
        return _request(document, path, place)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"openapi: expected a description as OpenAPI's specification has it in {path}, got "
            "values of another kind in it"
        ) from error


def _request(document: _Document, path: Path, place: str) -> KnownRequest:
    described = document.get("paths")
    if not isinstance(described, Mapping):
        raise AuditError(f"openapi: expected an OpenAPI description with paths in {path}, got none")
    if place not in described:
        shown = ", ".join(printable(str(each)) for each in list(described)[:20]) or "none"
        raise AuditError(f"path: expected one of {shown}, got {printable(place)!r}")
    item = _resolved(document, described[place])
    method = next((name for name in ("post", "put") if name in item), None)
    if method is None:
        raise AuditError(f"path: expected POST or PUT at {printable(place)}, got neither")
    operation = _resolved(document, item[method])
    parameters = [*item.get("parameters", []), *operation.get("parameters", [])]
    url = _url(document, place)
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    form: list[dict[str, Any]] = []
    for parameter in (_resolved(document, each) for each in parameters):
        if parameter.get("in") in ("body", "formData"):
            form.append(parameter)
        elif parameter.get("required") and parameter.get("in") in ("query", "header"):
            into = query if parameter["in"] == "query" else headers
            into[str(parameter["name"])] = str(_example(document, parameter))
    if query:
        url = f"{url}?{urlencode(query, safe=f'{FILL_IN}:')}".replace("+", "%20")
    auth, oauth2, notes = _auth(document, operation, url)
    return KnownRequest(
        made_from=f"the description of {place}",
        url=url,
        method=method.upper(),
        auth=auth,
        oauth2=oauth2,
        headers={name: value for name, value in headers.items() if not is_secret_field(name)},
        body=_swagger_body(document, operation, form) if form else _body(document, operation),
        answer=_answer(document, operation),
        notes=notes,
    )


def _read(path: Path) -> _Document:
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise AuditError(f"openapi: cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise AuditError(f"openapi: expected a description in {path}, got more than 16 MiB")
    wrong = f"openapi: expected JSON or YAML in {path}, got {excerpt(data)!r}"
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        require("yaml", by="openapi: a description in YAML", error=AuditError)
        import yaml  # type: ignore[import-untyped]  # it has no types of its own

        try:
            document = yaml.safe_load(data)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise AuditError(wrong) from error
    if not isinstance(document, dict):
        raise AuditError(wrong)
    return document


def _resolved(document: _Document, value: Any) -> dict[str, Any]:
    """Return an object, with the reference that it may be followed inside the document."""
    for _ in range(MAX_REFERENCES):
        if not isinstance(value, dict):
            return {}
        reference = value.get("$ref")
        if reference is None:
            options = [each for key in ("allOf", "anyOf", "oneOf") for each in value.get(key) or ()]
            if not options or "properties" in value or "type" in value:
                return value
            value = next((each for each in options if each != {"type": "null"}), {})
            continue
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise AuditError(f"openapi: expected references within the file, got {reference!r}")
        value = document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            value = value.get(name) if isinstance(value, dict) else None
    raise AuditError("openapi: expected references that end, got a circle")


def _url(document: _Document, place: str) -> str:
    servers = document.get("servers") or [{}]
    first = servers[0] if isinstance(servers, list) and isinstance(servers[0], dict) else {}
    base = str(first.get("url") or "")
    if document.get("host"):  # Swagger 2
        scheme = "http" if document.get("schemes") == ["http"] else "https"
        base = f"{scheme}://{document['host']}{document.get('basePath', '')}"
    unknown = f"https://{FILL_IN}_the_host"
    base = base if "://" in base else urljoin(f"{unknown}/", base)
    # What stands in braces is the user's to choose.
    return f"{base.rstrip('/')}{place}".replace("{", f"{FILL_IN}_").replace("}", "")


def _auth(
    document: _Document, operation: _Document, url: str
) -> tuple[KnownAuth | None, dict[str, str], tuple[str, ...]]:
    """Return who proves how, as ``[auth]`` or as ``[oauth2]``, and what is to be said."""
    wanted = operation.get("security", document.get("security")) or []
    names = [name for each in wanted if isinstance(each, dict) for name in each]
    schemes = document.get("components", {}).get("securitySchemes", {})
    schemes = schemes or document.get("securityDefinitions", {})
    env = variable_for(url) if FILL_IN not in url else "ENDPOINT_KEY"
    notes = []
    for name in names:
        scheme = _resolved(document, schemes.get(name))
        match scheme.get("type"), scheme.get("in"), str(scheme.get("scheme", "")).lower():
            case "apiKey", "header", _:
                return KnownAuth(env=env, header=str(scheme["name"])), {}, ()
            case "apiKey", "query", _:
                return KnownAuth(env=env, query=str(scheme["name"])), {}, ()
            case "apiKey", "cookie", _:
                return KnownAuth(env=env, cookie=str(scheme["name"])), {}, ()
            case ("http", _, "basic") | ("basic", _, _):
                note = "The variable holds USER:PASSWORD in base64."
                return KnownAuth(env=env, header="Authorization", scheme="Basic"), {}, (note,)
            case "oauth2", *_ if token_url := _token_url(scheme, url):
                client = f"{FILL_IN}: the id that the vendor gave you"
                named = {"token_url": token_url, "client_id": client, "client_secret_env": env}
                return None, named, ()
            case ("http", _, "bearer") | ("oauth2" | "openIdConnect", _, _):
                return KnownAuth(env=env, header="Authorization", scheme="Bearer"), {}, ()
            case kind, *_:
                notes.append(f"The API asks for {name} ({kind}), for which nothing is written.")
    return None, {}, tuple(notes)


def _token_url(scheme: _Document, url: str) -> str | None:
    """Return where tokens are got by client credentials, if that is a way."""
    flow = (scheme.get("flows") or {}).get("clientCredentials") or {}
    if scheme.get("flow") == "application":  # Swagger 2
        flow = scheme
    found = flow.get("tokenUrl")
    return urljoin(url, str(found)) if found else None


def _body(document: _Document, operation: _Document) -> KnownBody:
    content = _resolved(document, operation.get("requestBody")).get("content")
    content = content if isinstance(content, dict) else {}
    for kind, media in content.items():
        schema = _resolved(document, _resolved(document, media).get("schema"))
        if kind == "multipart/form-data":
            return _form(document, schema)
        if kind == "application/json":
            example = _resolved(document, media).get("example")
            return KnownBody(template=_template(document, schema, example))
        if kind.startswith("image/") or kind in ("application/octet-stream", "*/*"):
            return KnownBody()
    return KnownBody(template={"image": WHERE_THE_IMAGE_GOES})


def _swagger_body(
    document: _Document, operation: _Document, parameters: list[dict[str, Any]]
) -> KnownBody:
    body = next((each for each in parameters if each["in"] == "body"), None)
    if body is not None:
        return KnownBody(
            template=_template(document, _resolved(document, body.get("schema")), None)
        )
    properties = {each["name"]: each for each in parameters}
    required = [name for name, each in properties.items() if each.get("required")]
    return _form(document, {"properties": properties, "required": required})


def _form(document: _Document, schema: _Document) -> KnownBody:
    properties = {
        name: _resolved(document, each) for name, each in (schema.get("properties") or {}).items()
    }
    files = [name for name, each in properties.items() if _is_file(each)]
    name = files[0] if files else f"{FILL_IN}: the field of the form that takes the image"
    form = {
        each: secret_left(each)
        if is_secret_field(each)
        else str(_example(document, properties[each]))
        for each in schema.get("required") or ()
        if each in properties and each != name
    }
    return KnownBody(multipart=name, form=form)


def _is_file(schema: _Document) -> bool:
    if schema.get("type") == "array":
        return isinstance(schema.get("items"), dict) and _is_file(schema["items"])
    is_binary = schema.get("format") == "binary" or schema.get("type") == "file"
    return is_binary or "contentMediaType" in schema


def _template(document: _Document, schema: _Document, example: Any) -> Any:
    """Return an example of a JSON body with the placeholder where its schema has an image."""
    found: list[str] = []

    def built(schema: _Document, name: str, depth: int) -> Any:
        if depth > MAX_REFERENCES:
            return None
        if schema.get("type") == "array" or "items" in schema:
            if _array_depth(document, schema) >= 3 and not found:
                found.append(ARRAY)
                return [ARRAY] if _array_depth(document, schema) >= 4 else ARRAY
            return [built(_resolved(document, schema.get("items")), name, depth + 1)]
        if "properties" in schema:
            required = schema.get("required") or list(schema["properties"])
            kept = [each for each in schema["properties"] if each in required]
            return {
                each: built(_resolved(document, schema["properties"][each]), each, depth + 1)
                for each in kept
            }
        if schema.get("type") == "string" and not found and _is_image_text(schema, name):
            found.append(IMAGE)
            return IMAGE
        return secret_left(name) if is_secret_field(name) else _example(document, schema, name)

    template = built(schema, "", 0)
    if found:
        return template
    rest = example if isinstance(example, dict) else template
    return {"image": WHERE_THE_IMAGE_GOES, **(rest if isinstance(rest, dict) else {})}


def _is_image_text(schema: _Document, name: str) -> bool:
    told = f"{name} {schema.get('title', '')}".lower()
    is_base64 = schema.get("format") in ("byte", "base64", "binary")
    is_base64 |= schema.get("contentEncoding") == "base64"
    is_address = schema.get("format") in ("uri", "url") or "url" in told
    return not is_address and (is_base64 or any(word in told for word in _IMAGE_WORDS))


def _array_depth(document: _Document, schema: _Document) -> int:
    """Return how many lists of numbers are within one another; 0 where they are of other things."""
    for depth in range(MAX_REFERENCES):
        if schema.get("type") in ("number", "integer"):
            return depth
        if schema.get("type") != "array":
            return 0
        schema = _resolved(document, schema.get("items"))
    return 0


def _example(document: _Document, described: _Document, name: str = "") -> Any:
    """Return a value that a description gives, or ``FILL_IN``."""
    schema = {**_resolved(document, described.get("schema")), **described}
    for key in ("default", "example", "const"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    named = name or str(described.get("name") or "a value")
    return f"{FILL_IN}: {named} ({schema.get('type', 'a value')})"


def _answer(document: _Document, operation: _Document) -> dict[str, str]:
    """Return where class and scores stand in the answer, as far as its schema tells."""
    responses = operation.get("responses")
    responses = responses if isinstance(responses, dict) else {}
    good = next((each for code, each in responses.items() if str(code).startswith("2")), None)
    response = _resolved(document, good)
    media = _resolved(document, (response.get("content") or {}).get("application/json"))
    schema = _resolved(document, media.get("schema") or response.get("schema"))
    paths = list(_paths(document, schema, "", 0))
    found: dict[str, str] = {}
    for names, field_name, kinds in (
        (_LABELS, "label", ("string", "integer")),
        (_SCORES, "scores", ("array", "object")),
    ):
        fits = [path for path, name, kind in paths if name in names and kind in kinds]
        if fits:
            found[field_name] = min(fits, key=lambda path: path.count("."))
    return found if "label" in found or "scores" in found else {}


def _paths(
    document: _Document, schema: _Document, path: str, depth: int
) -> Iterator[tuple[str, str, str]]:
    """Yield the JMESPath, the name and the type of what an answer holds."""
    if depth > 6:
        return
    if schema.get("type") == "array":
        items = _resolved(document, schema.get("items"))
        if path.rpartition(".")[2].lower() in _ROWS or not path:
            yield from _paths(document, items, f"{path}[0]", depth + 1)
        return
    for name, each in (schema.get("properties") or {}).items():
        inner = _resolved(document, each)
        quoted = name if name.isidentifier() and name.isascii() else json.dumps(name)
        here = f"{path}.{quoted}" if path else quoted
        yield here, name.lower(), str(inner.get("type", ""))
        yield from _paths(document, inner, here, depth + 1)
