"""The load generator in C (http_load.c) and what it sends."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def compiled(name: str, folder: Path) -> Path:
    """Compile a C program of this folder and return where it lies."""
    target = folder / name
    subprocess.run(["cc", "-O2", "-o", str(target), str(HERE / f"{name}.c")], check=True)
    return target


def write_request(
    path: Path, target: str, port: int, headers: Mapping[str, str], body: bytes
) -> Path:
    """Write a POST as it goes over the wire."""
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    path.write_bytes("\r\n".join([*lines, "", ""]).encode() + body)
    return path


def load_rate(program: Path, port: int, concurrency: int, num: int, request: Path) -> float:
    """Return how many requests a second the generator gets answered."""
    command = [str(program), str(port), str(concurrency), str(num), str(request)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
