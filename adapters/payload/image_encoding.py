"""Pixels to the bytes of an image file, and to the size that an endpoint takes.

Files are Pillow's, but for small PNG files, which are written here as ISO/IEC 15948 (PNG, third
edition) says: a general encoder spends far more time on its options and on compression than the
image is worth, and an audit sends hundreds of them.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapters.endpoint import description as endpoint_description

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}

_PNG_LEVEL = 1
"""Triggers look like noise: higher zlib levels cost time and save next to nothing."""
_MAX_STORED_BYTES = 1 << 13
"""Images up to this many bytes are not compressed at all: they fit a few packets anyway."""
_COLOUR_TYPES = {1: 0, 3: 2}
"""Channels to PNG's colour type: grey, RGB."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resize(images: NDArray[np.uint8], wanted: endpoint_description.Image) -> NDArray[np.uint8]:
    """Return the images in the endpoint's size, as they are where it names none.

    Args:
        images: Pixels ``[N, H, W, C]``, C = 1 or 3.
        wanted: The endpoint file's table ``[image]``.
    """
    if wanted.size is None or images.shape[1:3] == wanted.size:
        return images
    height, width = wanted.size
    method = _RESAMPLING[wanted.resampling]
    resized = [np.asarray(_picture(image).resize((width, height), method)) for image in images]
    return np.stack(resized).reshape(len(images), height, width, images.shape[3])


def encode(image: NDArray[np.uint8], wanted: endpoint_description.Image) -> bytes:
    """Return the bytes of a PNG (without loss) or JPEG file.

    Args:
        image: Pixels ``[H, W, C]``, C = 1 (grey) or 3 (RGB).
        wanted: The endpoint file's table ``[image]``.
    """
    if wanted.encoding == "png" and image.size <= _MAX_STORED_BYTES:
        return _stored_png(image)
    buffer = io.BytesIO()
    if wanted.encoding == "png":
        _picture(image).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    else:
        _picture(image).save(buffer, "JPEG", quality=wanted.jpeg_quality, subsampling=0)
    return buffer.getvalue()


def _stored_png(image: NDArray[np.uint8]) -> bytes:
    height, width, channels = image.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # 0: no filter
    lines[:, 1:] = image.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 0)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _picture(image: NDArray[np.uint8]) -> Image.Image:
    """Return ``[H, W, C]`` as a grey or RGB picture."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
