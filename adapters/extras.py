"""Libraries that not every user needs, by the extra of the distribution that brings them.

Whatever needs one asks for it here before importing it, so that a missing one is told with the
command that adds it. One that is there and does not load tells so itself: installing it again is
no advice then.
"""

import importlib.util

_LIBRARIES = {
    "bcrypt": ("bcrypt", "ssh"),
    "botocore": ("botocore", "aws"),
    "distributed": ("Dask distributed", "cluster"),
    "grpc": ("grpcio", "grpc"),
    "onnx2pytorch": ("onnx2pytorch", "onnx-source"),
    "open_inference": ("open-inference-grpc", "grpc"),
    "onnxscript": ("onnxscript", "generator"),
    "pyarrow": ("pyarrow", "datasets"),
    "rfc3161_client": ("rfc3161-client", "timestamp"),
    "timm": ("timm", "zoo"),
    "torchvision": ("torchvision", "zoo"),
    "transformers": ("transformers", "zoo"),
    "textual_serve": ("textual-serve", "serve"),
    "torch": ("PyTorch", "generator"),
    "yaml": ("PyYAML", "openapi"),
}
"""What people call a module, and its extra in pyproject.toml."""


def require(*modules: str, by: str, error: type[Exception]) -> None:
    """Refuse to go on without libraries; imports none of them.

    Args:
        modules: Their top-level names, all known here.
        by: What needs them, as the message begins: a command, an option or a field.
        error: What to raise; takes the message.

    Raises:
        Exception: Of the kind ``error``: one is not installed.
    """
    for module in modules:
        title, extra = _LIBRARIES[module]
        if importlib.util.find_spec(module) is None:
            raise error(f"{by} needs {title}, which is not installed; {install_command(extra)}")


def install_command(extra: str) -> str:
    """Return the command that adds an extra to the Kinprint that runs.

    pip takes what an extra brings from the installed distribution, wherever that came from.

    Example:
        >>> install_command("aws")
        'pip install "kinprint[aws]"'
    """
    return f'pip install "kinprint[{extra}]"'
