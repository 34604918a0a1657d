"""For all tests: how long something takes is measured by `make bench`, never by a test."""

from hypothesis import HealthCheck, settings

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


def pytest_collection_modifyitems(items):
    """Begin with what needs a control plane: it takes longest, and where files run side by side short ones go last."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


def pytest_terminal_summary(terminalreporter):
    """Print what tests have recorded, such as how long a reader of the tutorial takes."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")
