"""Checks the headers of compressed pixel streams before a decoder sees them.

Damaged headers make GDCM end the whole process, and others decode for minutes, where they should raise. So the
segments up to the first scan are walked here first (ITU-T T.81 annex B, T.87 annex C), or the size of a JPEG 2000
stream is read (T.800 annex A.5.1), and must agree with what DICOM says.
"""

from __future__ import annotations

from collections.abc import Callable

_SCAN, _JFIF = 0xDA, 0xE0
_LOSSLESS, _LS = 0xC3, 0xF7
_TABLES = {0xC4, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}  # Huffman, quantisation, restart, LS, comment, others
_SIZE_OF_2000 = b"\xff\x4f\xff\x51"
_JPEG = "1.2.840.10008.1.2.4."


def has_sound_header(stream: bytes, syntax: str, rows: int, columns: int, bits_allocated: int) -> bool:
    """Whether a compressed frame has one gray component of the size that DICOM says, in a header without gaps.

    Args:
        stream: one frame, as stored.
        syntax: transfer syntax UID; streams of others than lossless JPEG, JPEG-LS and JPEG 2000 always pass.
        rows, columns, bits_allocated: from the DICOM header.

    Returns:
        False when the stream must not be decoded.
    """
    check = _CHECKS.get(syntax)
    return check is None or (bits_allocated in (8, 16) and check(stream, rows, columns, bits_allocated))


def _is_2000(stream: bytes, rows: int, columns: int, bits_allocated: int) -> bool:
    start = stream.find(_SIZE_OF_2000)
    body = stream[start + 6 : start + 44]
    if start < 0 or len(body) < 38:
        return False
    right, low, left, top = (int.from_bytes(body[place : place + 4]) for place in range(2, 18, 4))
    return (low - top, right - left) == (rows, columns) and int.from_bytes(body[34:36]) == 1


def _is_gray_jpeg(frame: int) -> Callable[[bytes, int, int, int], bool]:
    """A check for streams whose frame header has the marker 0xFF `frame`."""

    def check(stream: bytes, rows: int, columns: int, bits_allocated: int) -> bool:
        place, frames = 2, 0
        while stream[:2] == b"\xff\xd8" and place + 4 <= len(stream):
            mark, kind, length = stream[place], stream[place + 1], int.from_bytes(stream[place + 2 : place + 4])
            body = stream[place + 4 : place + 2 + length]
            if mark != 0xFF or len(body) + 2 != length:
                return False
            if kind == _SCAN:
                return frames == 1 and length == 8 and body[0] == 1
            if kind == frame:
                size = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
                one = length == 11 and body[5] == 1 and body[7] == 0x11
                if not one or not 2 <= body[0] <= bits_allocated or size != (rows, columns):
                    return False
                frames += 1
            elif kind not in _TABLES or (kind == _JFIF and body[:5] == b"JFIF\0" and body[5:6] != b"\1"):
                return False
            place += 2 + length
        return False

    return check


_CHECKS = {
    **dict.fromkeys((_JPEG + "57", _JPEG + "70"), _is_gray_jpeg(_LOSSLESS)),
    **dict.fromkeys((_JPEG + "80", _JPEG + "81"), _is_gray_jpeg(_LS)),
    **dict.fromkeys((_JPEG + "90", _JPEG + "91", _JPEG + "201", _JPEG + "202", _JPEG + "203"), _is_2000),
}
