"""The lab answers as a real Kubernetes answered: all recordings, a folder each."""

import importlib

import pytest
from conftest import DRIVERS, SEED
from verdicts import MATCHED


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_answer_is_wrong(driver, replayed):
    folder = replayed(driver)
    wrong = list(folder.results.list_wrong())
    assert not wrong, f"KTNET_REPLAY_SEED={SEED}\n" + "\n".join(wrong)


@pytest.mark.parametrize("driver", DRIVERS)
def test_as_many_cases_match_as_did_before(driver, replayed):
    """What the lab could answer once it must not unlearn, nor decline."""
    least = importlib.import_module(driver).MATCHED_AT_LEAST
    assert replayed(driver).results.count(MATCHED) >= least
