"""A proxy for HTTP/1.1 that counts requests: ``python -m tests.lab.http.counter HOST PORT TO_HOST TO_PORT FILE``.

It does not support TLS. Ten times a second it writes to FILE, as JSON, how many requests and bytes each client has cost
so far. The bytes are those of both directions, without TCP's and IP's headers.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

_REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE|HEAD) \S+ HTTP/1\.1\r\n")
_WRITE_SECONDS = 0.1


async def main(host: str, port: str, to_host: str, to_port: str, file: str) -> None:
    requests: Counter[str] = Counter()
    carried: Counter[str] = Counter()

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        name = to_client.get_extra_info("peername")[0]
        server, to_server = await asyncio.open_connection(to_host, int(to_port))

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, asking: bool) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    carried[name] += len(data)
                    if asking:
                        requests[name] += len(_REQUEST.findall(data))
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pass_on(client, to_server, True), pass_on(server, to_client, False))

    async with await asyncio.start_server(serve, host, int(port)):
        print(f"http://{host}:{port}", flush=True)
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            _write(Path(file), json.dumps({"requests": requests, "bytes": carried}))


def _write(file: Path, text: str) -> None:
    """Write the file as a whole, because another process can read it at any time."""
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(file)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
