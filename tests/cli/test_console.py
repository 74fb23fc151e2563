"""Results go to stdout, log records to stderr."""

import logging

from aerostat.cli import console


def test_a_note_goes_to_stderr_as_it_is(capsys):
    text = "loss [bold]1.0[/bold] [3/4] :smile: " + "x" * 300
    console.note(text)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == text + "\n", "no markup, no emoji, no wrapping"


def test_results_go_to_stdout(capsys):
    console.stdout().print("found")
    assert capsys.readouterr() == ("found\n", "")


def test_log_records_of_the_library_are_printed_while_the_block_runs(capsys):
    log = logging.getLogger("aerostat.anything")
    with console.log_on_stderr():
        log.debug("hidden")
        log.info("100 %% [red]%s", "done")
        log.warning("odd")
    log.info("after")
    assert capsys.readouterr() == ("", "100 % [red]done\nwarning: odd\n")


def test_quieter_and_louder(capsys):
    log = logging.getLogger("aerostat.anything")
    with console.log_on_stderr(logging.WARNING):
        log.info("usual")
        log.warning("odd")
    with console.log_on_stderr(logging.DEBUG):
        log.debug("detail")
    assert capsys.readouterr().err == "warning: odd\nanything: detail\n"
