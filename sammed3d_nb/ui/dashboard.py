"""The app as annotators get it: what to open comes from the launcher and the page's address."""

import os
from collections.abc import Mapping

from sammed3d_nb.errors import UserError
from sammed3d_nb.ui.app import App
from sammed3d_nb.ui.worklist import MODEL, MODELS, OUTPUT, cases_from, requested, worklist_from


def dashboard(environ: Mapping[str, str] = os.environ) -> App:
    """The app for a page of the dashboard; returns at once, volume and model are loaded in the background.

    Args:
        environ: The variables of `serve.launch_environment`, and ``QUERY_STRING`` as Voilà sets it.
    """
    wrong: UserError | None = None
    try:
        worklist = worklist_from(environ)
    except UserError as error:  # a label set was changed since the launcher has looked at it: nothing else is shown
        worklist, wrong = None, error
    cases = cases_from(environ) if worklist is None and wrong is None else ()
    app = App(
        cases=cases,
        worklist=worklist,
        model=environ.get(MODEL),
        models=environ.get(MODELS),
        output=environ.get(OUTPUT),
        autosave=OUTPUT in environ,
    )
    if wrong is not None:
        app.report(wrong)
        return app
    try:
        number = requested(environ, cases if worklist is None else worklist.cases)
    except UserError as error:
        app.open(0)
        app.report(error)
    else:
        if worklist is not None and "case=" not in environ.get("QUERY_STRING", ""):
            app.open_first()
        else:
            app.open(number)
    return app
