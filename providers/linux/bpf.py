"""Classic BPF: programs that decide in the kernel what a socket receives (linux/filter.h)."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jump if true, jump if false, value

LOAD_BYTE: Final = 0x30  # absolute; multi-byte loads read network order
LOAD_HALF: Final = 0x28
LOAD_WORD: Final = 0x20
JUMP_IF_EQUAL: Final = 0x15
AND: Final = 0x54
RETURN: Final = 0x06
EVERYTHING: Final = 0xFFFFFFFF

_SO_ATTACH_FILTER: Final = 26
_INSTRUCTION: Final = struct.Struct("=HBBI")


def attach(receiver: socket.socket, program: Sequence[Instruction]) -> None:
    """Attach a filter to a socket: it drops each message for which the program returns 0. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    described = struct.pack("HP", len(program), ctypes.addressof(code))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


@dataclass(frozen=True, slots=True)
class Label:
    """A place in a program that jumps name."""

    name: str


@dataclass(frozen=True, slots=True)
class Jump:
    """Go to one of two labels by a comparison with what was loaded last. None: to the next instruction."""

    value: int
    equal: Label | None
    other: Label | None = None


def assemble(lines: Sequence[Instruction | Jump | Label]) -> list[Instruction]:
    """Return the program with its jumps as distances. Jumps only lead forward."""
    places: dict[Label, int] = {}
    code: list[Instruction | Jump] = []
    for line in lines:
        if isinstance(line, Label):
            places[line] = len(code)
        else:
            code.append(line)

    def distance(label: Label | None, at: int) -> int:
        return 0 if label is None else places[label] - at - 1

    return [
        (JUMP_IF_EQUAL, distance(line.equal, at), distance(line.other, at), line.value)
        if isinstance(line, Jump)
        else line
        for at, line in enumerate(code)
    ]


def one_of(load: int, offset: int, values: Sequence[int]) -> list[Instruction]:
    """Return a program that keeps the messages with one of these values at the offset."""
    checks = [(JUMP_IF_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [(load, 0, 0, offset), *checks, (RETURN, 0, 0, 0), (RETURN, 0, 0, EVERYTHING)]
