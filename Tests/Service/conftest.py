import pytest

from service import Deployment

SHARED = []


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


@pytest.fixture(autouse=True, scope="module")
def no_lockout():
    """Sign-ins that tests of one file have refused must not lock the machine's address out for the next."""
    for deployment in SHARED:
        deployment.sql("DELETE FROM config.failed_sign_in")


@pytest.fixture
def own_service():
    """A running deployment for one test, which may break it."""
    deployment = Deployment()
    try:
        yield deployment.start()
    finally:
        deployment.remove()
