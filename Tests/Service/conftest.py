import datetime
import os
import pathlib
import signal
import sys
import tempfile

import pytest

# Test modules import each other and shared modules by name, no matter in which folders they are.
sys.path[:0] = sorted({str(path.parent) for path in pathlib.Path(__file__).parent.rglob("*.py")})

import environments  # noqa: E402
from console_browser import chromium, sign_in  # noqa: E402
from mail import Mail  # noqa: E402
from service import Deployment, scratch  # noqa: E402
from cluster import Cluster  # noqa: E402
from server import running  # noqa: E402
from schedule import TURNS, Recorder, Schedule, seed_of, short_name, waiting  # noqa: E402

FULL = bool(os.environ.get("FIELDSEAL_TEST_FULL"))
#: Whether long test files run only in part, so that consecutive runs take turns.
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
    # For the temporary files of other programs too.
    os.environ["TMPDIR"] = tempfile.tempdir = config.stash[MADE]
    scratch.adopt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    # A shell lets its background programs ignore this signal, and programs that a test starts would inherit that.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def interrupt(number, frame):
    """Ends the run as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Removes everything that the run made, processes and files, no matter how the run ended."""
    if MADE in config.stash:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        scratch.remove(config.stash[MADE])


def pytest_collection_modifyitems(config, items):
    """Leaves out tests of packages for which this machine has no Python, and tests whose turn it is not. `make test-full` runs all tests, and fails
    without the packages' Python."""
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
    """A running deployment that tests share. Each test uses only what it made itself."""
    deployment = Deployment()
    try:
        SHARED.append(deployment.start())
        yield deployment
    finally:
        SHARED.clear()
        deployment.remove()


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL with a deployment and the organization contoso. The tests of one file share it."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server():
    """A running service with its own PostgreSQL. The tests of one file share it."""
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def routed():
    """A running deployment with mail servers. The tests of one file share it."""
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
    """A running deployment with a console. The tests of one file share it."""
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
    """Removes the counts of refused sign-ins, which could lock the machine's address out for the next file."""
    for deployment in SHARED:
        deployment.sql("DELETE FROM config.failed_sign_in")


@pytest.fixture
def own_service():
    """A running deployment for one test, which may damage it."""
    with Deployment.made() as deployment:
        yield deployment
