"""The verb `report`."""


def test_report_refuses_what_is_no_run(aerostat, working_folder, assert_refused):
    for name in ("none", str(working_folder)):
        assert_refused(aerostat("report", name), "no run")
    assert list(working_folder.iterdir()) == []
