"""A transport of httpx to a simulator in the same process."""

import httpx
from starlette.applications import Starlette

from digdir_simulator.faults import AnswerDroppedError


class InProcessTransport(httpx.AsyncBaseTransport):
    """Calls a simulator without a network, and reports a dropped answer as a network would.

    Use as ``httpx.AsyncClient(transport=InProcessTransport(app), base_url=…)``.
    """

    def __init__(self, app: Starlette) -> None:
        """Call `app`, made by `digdir_simulator.create_app`."""
        self._transport = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`.

        Raises:
            httpx.RemoteProtocolError: the simulator dropped the answer.
        """
        try:
            return await self._transport.handle_async_request(request)
        except AnswerDroppedError as error:
            message = "Server disconnected without sending a response."
            raise httpx.RemoteProtocolError(message, request=request) from error
