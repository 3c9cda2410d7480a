"""The lab answers as a real Kubernetes answered: all recordings, a folder each."""

import importlib

import pytest
from drivers import DRIVERS, SEED, list_left_out
from verdicts import LISTED, MATCHED


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_answer_is_wrong(driver, replayed):
    folder = replayed(driver)
    wrong = list(folder.results.list_wrong())
    assert not wrong, f"KTNET_REPLAY_SEED={SEED}\n" + "\n".join(wrong)


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_case_falls_through(driver, replayed):
    """Each has matched, was declined, or stands in its driver's list with the reason."""
    results = replayed(driver).results
    assert not results.list_unaccounted()
    assert len(results.verdicts) + results.count(LISTED) == len(results.cases)


def test_every_folder_has_a_driver(recordings):
    """A folder more of recordings is a driver more."""
    folders = sorted(path.name for path in recordings.iterdir() if path.is_dir())
    assert [importlib.import_module(each).FOLDER for each in DRIVERS] == folders


@pytest.mark.parametrize("driver", DRIVERS)
def test_as_many_cases_match_as_did_before(driver, replayed):
    """What the lab could answer once it must not unlearn, nor decline."""
    module = importlib.import_module(driver)
    least = module.MATCHED_AT_LEAST - (len(list_left_out(module)) - len(module.LISTED))
    assert replayed(driver).results.count(MATCHED) >= least
