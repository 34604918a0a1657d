"""A simulator of DigDir's self-service admin API and of Maskinporten's token endpoint.

Within one process::

    from digdir_simulator import Config, create_app
    app = create_app(Config(public_url="http://digdir.test", admin_jwk=jwk), clock=clock)
    transport = httpx.ASGITransport(app=app)  # or InProcessTransport(app), see digdir_simulator.in_process

As a process of its own: ``digdir-simulator --help``.
"""

from digdir_simulator.app import create_app
from digdir_simulator.config import Config, Manners, Settings
from digdir_simulator.faults import AnswerDroppedError
from digdir_simulator.simulator import Simulator

__all__ = ["AnswerDroppedError", "Config", "Manners", "Settings", "Simulator", "create_app"]
