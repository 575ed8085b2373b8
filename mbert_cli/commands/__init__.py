"""The commands, one file each: `mbert count-params` is `count_params.py`. `app.py` joins them.

These files are no commands; several commands use them:

    options          options that several commands have
    division         options that divide the rows among processes
    executor         what starts the training runs of a sweep
    help_text        the texts of --help
    completion       shell completion
    mistakes         messages for command lines that the parser rejects
    failures         messages and exit codes for exceptions
    streams          standard input and output
    output, tables   JSON and tables on standard output

Commands import torch only when they run, so that `mbert --help` is fast.
"""
