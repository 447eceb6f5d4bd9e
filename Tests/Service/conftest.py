import pytest

from service import Deployment


@pytest.fixture(scope="session")
def service():
    """A running deployment that tests share; what they make in it is their own."""
    deployment = Deployment()
    try:
        yield deployment.start()
    finally:
        deployment.remove()


@pytest.fixture
def own_service():
    """A running deployment for one test, which may break it."""
    deployment = Deployment()
    try:
        yield deployment.start()
    finally:
        deployment.remove()
