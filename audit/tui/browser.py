"""The screen in a browser of this machine, and in no other page that the browser shows.

textual-serve runs the screen behind a WebSocket for whoever asks. But every page that a browser has
open can ask a server on its own machine, and a name of the page's owner can stand for 127.0.0.1. So
each request has to name this server itself as ``Host``, must not come from another page
(``Origin``), and begins with a token that only whoever started the server was told. The token is a
part of the path, not a cookie: cookies are shared by all servers of a machine, whatever their port.
"""

import hmac
import secrets
from typing import Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server, to_int

ADDRESS: Final = "127.0.0.1"
"""Nobody else's machine; the only address that is listened on."""
TOKEN_BYTES: Final = 32
_DOWNLOAD: Final = "download"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    # The page of textual-serve would fetch a font from somebody who then knows of every audit.
    "Content-Security-Policy": (
        "frame-ancestors 'none'; style-src 'self' 'unsafe-inline'; font-src 'self' data:"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The address, which holds the token, is told to nobody; no page shows this one inside itself."""


class BrowserServer(Server):
    """Serves a screen at an address that cannot be guessed.

    Args:
        command: Line for the shell that starts the screen, once per connection.
        port: To listen on.
    """

    def __init__(self, command: str, port: int) -> None:
        super().__init__(command, host=ADDRESS, port=port, title="Kinprint")
        self._token = secrets.token_urlsafe(TOKEN_BYTES)
        usual = ("", f":{port}") if port == 80 else (f":{port}",)
        self._hosts = {f"{name}{suffix}" for name in (ADDRESS, "localhost") for suffix in usual}
        self._files = {
            path.relative_to(self.statics_path).as_posix(): path
            for path in self.statics_path.rglob("*")
            if path.is_file()
        }

    @property
    def address(self) -> str:
        """Return what to open in the browser."""
        return f"http://{ADDRESS}:{self.port}/{self._token}/"

    def initialize_logging(self) -> None:
        """Log nothing: requests have the token in their paths."""

    async def on_startup(self, app: web.Application) -> None:
        """Tell nothing: the address is told by whoever starts the server."""

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(self.templates_path))
        app.add_routes(
            [
                web.get("/download/{key}", self.handle_download, name=_DOWNLOAD),
                web.get("/{token}/", self._page),
                web.get("/{token}/ws", self.handle_websocket),
                web.get("/{token}/static/{name:.*}", self._file),
            ]
        )
        app.on_response_prepare.append(_keep_to_itself)
        app.on_startup.append(self.on_startup)
        app.on_shutdown.append(self.on_shutdown)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in, or say why not before anything of it is looked at."""
        refusal = self._refusal(request)
        return await handler(request) if refusal is None else web.Response(status=403, text=refusal)

    def _refusal(self, request: web.Request) -> str | None:
        hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return (
                f"This screen is for this machine only: open it as http://{ADDRESS}:{self.port}.\n"
            )
        # Browsers name the page that opens a WebSocket always, and with others where it matters.
        is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if origins != [f"http://{hosts[0]}"] and (origins or is_websocket):
            return "This screen is shown to no other page.\n"
        # A download has a key of its own, which the screen makes up and tells its page once.
        if request.match_info.route.name == _DOWNLOAD:
            return None
        told = request.path.removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(told.encode(), self._token.encode()):
            return (
                "The address is not the one that kinprint told; it is another one at each start.\n"
            )
        return None

    async def _page(self, request: web.Request) -> web.Response:
        place = f"{request.host}/{self._token}"
        return aiohttp_jinja2.render_template(
            "app_index.html",
            request,
            {
                "font_size": to_int(request.query.get("fontsize", "16"), 16),
                "app_websocket_url": f"ws://{place}/ws",
                "config": {"static": {"url": f"http://{place}/static/"}},
                "application": {"name": self.title},
            },
        )

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path)


async def _keep_to_itself(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
