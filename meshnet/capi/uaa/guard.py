"""Who may call UAA's own API: scopes of a token, and errors in OAuth's form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from meshnet.model.errors import InputError
from meshnet.wire.token import AccessToken, TokenError


class UaaError(InputError):
    """An error as UAA answers it: {"error", "error_description"}."""

    def __init__(self, status: int, error: str, description: str, message: str = "") -> None:
        super().__init__(description)
        self.status, self.error, self.message = status, error, message

    def body(self) -> dict[str, str]:
        """The JSON body."""
        body = {"error": self.error, "error_description": str(self)}
        return {**body, "message": self.message} if self.message else body


async def signed_in(request: Request) -> AccessToken:
    """Whose token it is. Raises UaaError 401."""
    header = request.headers.get("authorization")
    if not header:
        text = "Full authentication is required to access this resource"
        raise UaaError(401, "unauthorized", text)
    try:
        token: AccessToken = request.app.state.service.tokens.verify(header)
    except TokenError as exc:
        raise UaaError(401, "invalid_token", str(exc)) from exc
    return token


def needs(*scopes: str) -> Callable[[Request], Awaitable[AccessToken]]:
    """A dependency: one of these scopes, or uaa.admin. Raises UaaError 401, 403."""

    async def check(request: Request) -> AccessToken:
        token = await signed_in(request)
        if not token.scopes & {*scopes, "uaa.admin"}:
            raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
        return token

    return check
