"""The line above Home's tables: what one can do next, or why one cannot."""

from pathlib import Path

from adapters.printable import printable
from audit.bundle.inspection import SignatureState
from audit.suspects.found_files import FoundBundle
from audit.tui.library import Listing


def home_hint(listing: Listing, bundle: FoundBundle | None, folder: Path) -> str:
    """Return the hint.

    Args:
        listing: What was found.
        bundle: The one under the cursor.
        folder: Where it was looked for.
    """
    if listing.problem:
        return f"✗ {printable(listing.problem)}"
    if not listing.bundles:
        return (
            f"No bundle in {printable(str(folder))}. Press f to look in another folder, or d for "
            "an example to try: a bundle and eight suspects, made in two minutes."
        )
    if bundle is not None and bundle.state is SignatureState.UNTRUSTED:
        return (
            "? Anybody can have made this bundle. If you have its owner's public key from the "
            "owner, press t to trust it."
        )
    if bundle is not None and bundle.state is not SignatureState.TRUSTED:
        return f"✗ {printable(bundle.reason)}"
    if not listing.suspects:
        return "No suspect here: an ONNX file or an endpoint TOML. Press f for another folder."
    name = printable(bundle.contents.manifest.model_name) if bundle and bundle.contents else "?"
    return f"Press Enter on a suspect to audit it with {name}."
