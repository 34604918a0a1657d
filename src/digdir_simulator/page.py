"""The simulator's page: three files of this package, which ask the control API for all that they show."""

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),
}

_HEADERS = {
    # Nothing from elsewhere, no script or style within the document, and nowhere is text parsed as HTML
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

DEVTOOLS = "/.well-known/appspecific/com.chrome.devtools.json"
"""What Chromium asks for by itself when somebody opens its developer tools; no call of an API."""


def page_routes() -> list[Route]:
    """Return the routes of the page, which may be read from anywhere: the files have no data."""
    folder = resources.files("digdir_simulator") / "static"
    files = [_serve(path, (folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()]
    return [*files, Route(DEVTOOLS, _nothing)]


def _serve(path: str, content: bytes, media_type: str) -> Route:
    async def serve(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return Route(path, serve)


async def _nothing(_request: Request) -> Response:
    return Response(status_code=404)
