"""A fake cloud over HTTP, for which the contract of movers decides what happens to each request."""

from __future__ import annotations

from collections.abc import Callable

from controller.contracts import LostReply, Script, ScriptedRefusal
from tests.lab.http.rest import Answer, Dropped, Request

_FORBIDDEN = {"error": {"code": "AuthorizationFailed", "message": "refused by the script"}}


def scripted(answer: Callable[[Request], Answer], script: Script) -> Callable[[Request], Answer]:
    """Wrap `answer`, so that the script decides about each request. Every method except GET is a write."""

    def answer_by_script(request: Request) -> Answer:
        what = f"{request.method} {request.path}"
        try:
            return script.serve(what, lambda: answer(request), writes=request.method != "GET")
        except ScriptedRefusal:
            return Answer(403, _FORBIDDEN)
        except LostReply:
            raise Dropped from None

    return answer_by_script
