"""PNG pictures that every reader opens and that this module decodes several times as fast as Pillow.

All rows are filtered by "Up" (PNG specification, section 9): undoing it is one running sum down the columns, which
numpy does at memory speed; the rest is inflating, done without the interpreter's lock, so that threads share it. The
package isal of the train extra inflates twice as fast as zlib, which does it where isal is absent.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

try:
    from isal import isal_zlib as inflater
except ImportError:  # no wheel for this machine
    inflater = zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2
LEVEL = 3  # of zlib: 1 % larger than level 6, three times as fast to write
_HEAD = struct.Struct(">8sI4sIIBBBBBII4s")  # signature, IHDR with its checksum, length and name of the next chunk
_TAIL = 16  # checksum of IDAT, and IEND


def encode(image: np.ndarray) -> bytes:
    """A gray 8-bit PNG of one picture.

    Args:
        image (`np.ndarray` of shape `(y, x)`, uint8)
    """
    height, width = image.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = UP
    rows[:, 1:] = image
    rows[1:, 1:] -= image[:-1]  # modulo 256
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(rows.tobytes(), LEVEL)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def decode_into(data: bytes | memoryview, canvas: np.ndarray) -> tuple[int, int]:
    """Decodes a gray PNG into the middle of a canvas.

    Args:
        data: the file; one that `encode` did not make is decoded too, by Pillow.
        canvas (`np.ndarray` of shape `(side, side)`, uint8): zeros; what the picture does not cover stays as it is.

    Returns:
        Height and width of the picture.

    Raises:
        ValueError: the picture is damaged, not gray, or larger than the canvas.
    """
    view = memoryview(data)
    rows = _own_rows(view)
    if rows is None:
        image = _by_pillow(view)
        middle(canvas, image.shape)[...] = image
        return image.shape
    size = rows.shape[0], rows.shape[1] - 1
    np.add.accumulate(rows[:, 1:], axis=0, dtype=np.uint8, out=middle(canvas, size))
    return size


def middle(canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The view of a canvas `(…, y, x)` that a picture of `size` (height, width) fills: centre on centre."""
    height, width = size
    top, left = (canvas.shape[-2] - height) // 2, (canvas.shape[-1] - width) // 2
    if top < 0 or left < 0:
        raise ValueError(f"a picture of {height} x {width} does not fit {canvas.shape[-2]} x {canvas.shape[-1]} pixels")
    return canvas[..., top : top + height, left : left + width]


def _own_rows(view: memoryview) -> np.ndarray | None:
    """Filtered rows `(y, 1 + x)`; `None` for a picture that `encode` did not make."""
    if len(view) < _HEAD.size + _TAIL:
        raise ValueError("a picture is truncated")
    signature, _, _, width, height, bits, colour, _, _, interlaced, _, length, name = _HEAD.unpack_from(view)
    ours = (bits, colour, interlaced) == (8, 0, 0) and name == b"IDAT" and _HEAD.size + length + _TAIL == len(view)
    if signature != SIGNATURE or not ours:
        return None
    needed = height * (width + 1)
    try:
        unpacked = inflater.decompress(view[_HEAD.size : -_TAIL], bufsize=needed)
    except (zlib.error, inflater.error) as error:
        raise ValueError(f"a picture is damaged ({error})") from None
    if len(unpacked) != needed:
        raise ValueError(f"a picture needs {needed} bytes, got {len(unpacked)}")
    rows = np.frombuffer(unpacked, np.uint8).reshape(height, width + 1)
    return rows if (rows[:, 0] == UP).all() else None


def _by_pillow(view: memoryview) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(view), formats=("PNG",)) as picture:
            if picture.mode != "L":
                raise ValueError(f"a picture needs to be gray with 8 bits, got mode {picture.mode}")
            return np.asarray(picture)
    except (OSError, SyntaxError) as error:  # what Pillow raises on damaged bytes
        raise ValueError(f"a picture is damaged ({type(error).__name__})") from None
