"""A fake cloud over HTTP whose requests the contract of movers decides about."""

from __future__ import annotations

from collections.abc import Callable

from controller.contracts import LostReply, Refused, Script
from tests.lab.http.rest import Answer, Dropped, Request

_FORBIDDEN = {"error": {"code": "AuthorizationFailed", "message": "refused by the script"}}


def scripted(answer: Callable[[Request], Answer], script: Script) -> Callable[[Request], Answer]:
    """What `answer` says, as far as the script lets it; every method but GET writes."""

    def answer_by_script(request: Request) -> Answer:
        what = f"{request.method} {request.path}"
        try:
            return script.serve(what, lambda: answer(request), writes=request.method != "GET")
        except Refused:
            return Answer(403, _FORBIDDEN)
        except LostReply:
            raise Dropped from None

    return answer_by_script
