"""What was built."""

import trainproof
from trainproof import _core


def test_versions_agree():
    assert _core.build_info()["version"] == _core.__version__ == trainproof.__version__


def test_target_and_features_are_named():
    info = _core.build_info()
    assert info["target"].count("-") == 1
    assert all(isinstance(feature, str) for feature in info["features"])
