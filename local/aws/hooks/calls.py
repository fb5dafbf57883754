"""What happens to every call: its permission is checked, and a repeated one is answered as it was before."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.responses import BaseResponse

from local.aws.admission import failure
from local.aws.iam import Iam
from local.aws.moto import Method, Moto

Refusals = list[tuple[str, str]]  # the next call of this action is refused with this code

_REMEMBERED_ANSWERS = 100

_log = logging.getLogger(__name__)


def hook(moto: Moto, iam: Iam, refusals: Refusals) -> None:
    """Check each call's permission; answer it once."""

    @moto.around(ActionAuthenticatorMixin, "_authenticate_and_authorize_normal_action")
    def authorize(_: Method, self: Any, *_resource: Any) -> None:
        iam.authorize(self)

    answers: OrderedDict[tuple[str, str | None], Any] = OrderedDict()
    lock = threading.Lock()

    @moto.around(BaseResponse, "call_action")
    def call(original: Method, self: Any) -> Any:
        """Answer a call that an SDK repeats, because the answer was lost on the way, as it was answered before."""
        identity = (self.get_access_key(), self.headers.get("amz-sdk-invocation-id"))
        with lock:
            if identity in answers:
                return answers[identity]
        answer = attempt(original, self)
        if identity[1] and int(answer[0]) < 400:
            with lock:
                answers[identity] = answer
                while len(answers) > _REMEMBERED_ANSWERS:
                    answers.popitem(last=False)
        return answer

    def attempt(original: Method, self: Any) -> Any:
        """Answer 501 where moto would answer 500: SDKs do not try that again, for minutes, but show it."""
        for refusal in refusals:
            if refusal[0] == self._get_action():
                refusals.remove(refusal)
                return _failure(self, refusal[1], f"{refusal[0]} was refused, as told.", status=403)
        try:
            return original(self)
        except Exception as error:
            code = "NotImplemented" if isinstance(error, NotImplementedError) else "InternalFailure"
            _log.exception("%s failed", self._get_action())
            return _failure(self, code, f"{type(error).__name__}: {error}")


def _failure(request: Any, code: str, message: str, *, status: int = 501) -> tuple[int, dict[str, str], str]:
    content_type, body = failure(request.service_name, request.headers.get("Content-Type") or "", code, message)
    return status, {"Content-Type": content_type, "x-amzn-errortype": code}, body.decode()
