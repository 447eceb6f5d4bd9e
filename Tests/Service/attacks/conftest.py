import pathlib
import sys

# What the tests of the service share.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
