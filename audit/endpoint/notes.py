"""What an endpoint file says that harms an audit, or may, in sentences."""

from adapters.endpoint.description import EndpointDescription
from adapters.http.suspect import JPEG_WARNING
from adapters.printable import printable
from audit.bundle.manifest import BundleContents


def endpoint_notes(bundle: BundleContents, description: EndpointDescription) -> tuple[str, ...]:
    """Return a sentence about each thing that harms, or may, in an endpoint file."""
    notes = []
    task = bundle.manifest.task
    height, width = description.image.size or (task.height, task.width)
    if (height, width) != (task.height, task.width):
        notes.append(
            f"Images are resized from {task.height}x{task.width} to {height}x{width} before they "
            "leave (image.size), and triggers lose some of what they are made of."
        )
    below = getattr(description, "upscales_below", 0)
    if min(height, width) < below:
        notes.append(
            f"The vendor scales images under {below} pixels up, and these have {height}x{width}: "
            "what it does to them is part of what is asked."
        )
    if description.image.encoding == "jpeg":
        notes.append(f"The endpoint file says JPEG. {_capital(JPEG_WARNING)}.")
    if description.sends_secret_in_the_clear:
        notes.append("Credentials travel over plain HTTP, which everyone on the way can read.")
    for place in description.written_secrets:
        notes.append(
            f"{printable(place)} holds what looks like a secret, and whoever gets the file gets "
            "it, too. Where the API takes it in a header, the query or a cookie, name its place "
            "under [auth]; otherwise keep the file private (chmod 600)."
        )
    return tuple(notes)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
