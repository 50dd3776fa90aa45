"""The Cloud Controller's errors: HTTP status, code, title, and texts that the cf CLI recognises."""

from __future__ import annotations

from meshnet.model.errors import InputError


class ApiError(InputError):
    """An error as the API answers it."""

    def __init__(self, status: int, code: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.title, self.detail = status, code, title, detail

    def body(self) -> dict[str, object]:
        """The JSON body."""
        return {"errors": self.entries()}

    def v2_body(self) -> dict[str, object]:
        """The JSON body of the v2 API."""
        return {"description": self.detail, "error_code": self.title, "code": self.code}

    def entries(self) -> list[dict[str, object]]:
        """What the body, or a failed job, lists."""
        return [{"code": self.code, "title": self.title, "detail": self.detail}]


def unprocessable(detail: str) -> ApiError:
    """422: understood, and wrong."""
    return ApiError(422, 10008, "CF-UnprocessableEntity", detail)


def not_found(what: str) -> ApiError:
    """404: `what` is a resource's name, as "App"."""
    return ApiError(404, 10010, "CF-ResourceNotFound", f"{what} not found")


def unauthenticated(detail: str = "Authentication error") -> ApiError:
    """401: no token."""
    return ApiError(401, 10002, "CF-NotAuthenticated", detail)


def invalid_token() -> ApiError:
    """401: a token that is not ours or too old."""
    return ApiError(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token")


def not_authorized() -> ApiError:
    """403: they may see it, and not do that with it."""
    text = "You are not authorized to perform the requested action"
    return ApiError(403, 10003, "CF-NotAuthorized", text)


def suspended() -> ApiError:
    """403: nothing in a suspended organization may be changed."""
    return ApiError(403, 10017, "CF-OrgSuspended", "The organization is suspended")


def bad_query(detail: str) -> ApiError:
    """400: a query parameter that makes no sense."""
    return ApiError(400, 10005, "CF-BadQueryParameter", detail)


def unavailable(detail: str) -> ApiError:
    """503: a component behind the API is away."""
    return ApiError(503, 10015, "CF-ServiceUnavailable", detail)
