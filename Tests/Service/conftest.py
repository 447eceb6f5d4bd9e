import datetime
import os
import pathlib
import signal
import sys
import tempfile

import pytest

# Tests, and what they share, import each other by name, whichever folders they are in.
sys.path[:0] = sorted({str(path.parent) for path in pathlib.Path(__file__).parent.rglob("*.py")})

import environments  # noqa: E402
from console_browser import chromium, sign_in  # noqa: E402
from mail import Mail  # noqa: E402
from service import Deployment, scratch  # noqa: E402
from cluster import Cluster  # noqa: E402
from server import running  # noqa: E402
from schedule import TURNS, Recorder, Schedule, seed_of, short_name, waiting  # noqa: E402

FULL = bool(os.environ.get("FIELDSEAL_TEST_FULL"))
#: Whether tests of long files take turns.
IN_TURNS = bool(os.environ.get("FIELDSEAL_TEST_IN_TURNS"))
SHARED = []
#: The folder that this process made for the run.
MADE = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures time, or takes all of the machine; runs when nothing else does")
    config.addinivalue_line("markers", "package(name): runs a package of others, which wants a version of Python of its own")
    os.environ.setdefault("FIELDSEAL_SEED", str(seed_of(datetime.date.today())))
    if not hasattr(config, "workerinput") and os.environ.get("FIELDSEAL_TEST_RECORD"):
        config.pluginmanager.register(Recorder())
    if hasattr(config, "workerinput") or scratch.VARIABLE in os.environ:
        return
    config.stash[MADE] = os.environ[scratch.VARIABLE] = str(scratch.make())
    # Also what other programs make.
    os.environ["TMPDIR"] = tempfile.tempdir = config.stash[MADE]
    scratch.adopt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    # A shell has the programs in its background ignore it, and a test's programs would inherit that.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def interrupt(number, frame):
    """Ends the run as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leaves nothing: no process and no file, however the run ended."""
    if MADE in config.stash:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        scratch.remove(config.stash[MADE])


def pytest_collection_modifyitems(config, items):
    """Leaves out packages that no Python of this machine runs, and tests whose turn it is not.

    `make test-full` has them all, and fails without the packages' Python.
    """
    left_out = set()
    if not FULL:
        left_out |= {item for item in items if (marker := item.get_closest_marker("package")) and not environments.is_possible(marker.args[0])}
    if IN_TURNS:
        alone = {short_name(item.nodeid) for item in items if item.get_closest_marker("alone")}
        later = waiting([short_name(item.nodeid) for item in items], int(os.environ["FIELDSEAL_SEED"]), alone)
        left_out |= {item for item in items if short_name(item.nodeid) in later}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter):
    for name in environments.PACKAGES:
        if not FULL and not environments.is_possible(name):
            terminalreporter.write_line(f"Not run: {name}. No Python of this machine runs it (Tests/Service/clients/environments.py).")
    seed = os.environ["FIELDSEAL_SEED"]
    if IN_TURNS:
        terminalreporter.write_line(f"This was turn {int(seed) % TURNS + 1} of {TURNS} of the longer files. `make test-all` tries all.")
    terminalreporter.write_line(f"FIELDSEAL_SEED={seed} repeats this run's samples, turns and random walks.")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Schedule(config, log)


@pytest.fixture(scope="session")
def service():
    """A running deployment that tests share; what they make in it is their own."""
    deployment = Deployment()
    try:
        SHARED.append(deployment.start())
        yield deployment
    finally:
        SHARED.clear()
        deployment.remove()


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL with a deployment and the organization contoso, which the tests of one file share."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server():
    """A running service with a PostgreSQL of its own, which the tests of one file share."""
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def routed():
    """A running deployment with mail servers, which the tests of one file share."""
    deployment = Deployment()
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        deployment.mail = Mail(deployment.home)
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()


@pytest.fixture(scope="module")
def console():
    """A running deployment with a console, which the tests of one file share."""
    with Deployment.made() as deployment:
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        yield deployment


@pytest.fixture(scope="module")
def chrome():
    """One browser for all tests of a file."""
    driver = chromium()
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(console, chrome):
    """The browser, signed in as the development administrator."""
    chrome.delete_all_cookies()
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    sign_in(chrome, console)
    return chrome


@pytest.fixture(autouse=True, scope="module")
def no_lockout():
    """Sign-ins that tests of one file have refused must not lock the machine's address out for the next."""
    for deployment in SHARED:
        deployment.sql("DELETE FROM config.failed_sign_in")


@pytest.fixture
def own_service():
    """A running deployment for one test, which may break it."""
    with Deployment.made() as deployment:
        yield deployment
