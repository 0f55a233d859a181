"""``python -m Testing.web.serve_small_page LIBRARY``: a server with a small page, on the library's first case."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.workbench import Workbench
from DenseLandmarksLib.web.downloads import Downloads
from DenseLandmarksLib.web.serve import Address, serve
from Testing.scene.saved_scene import new_scene
from Testing.web.small_page import SmallPage


class AbsentPage(SmallPage):
    """Its button says of the first landmark that it is not there."""

    def __init__(self, server: Any, bench: Workbench, downloads: Downloads) -> None:
        super().__init__(server, bench, downloads)
        self._bench = bench

    def _click(self) -> int:
        assert self._bench.state is not None
        self._bench.do(Session.mark_absent, self._bench.state.landmarks.names[0])
        return super()._click()


def main() -> None:
    from vtkmodules.vtkCommonCore import vtkObject

    vtkObject.GlobalWarningDisplayOff()  # about what only an application has
    bench = Workbench(new_scene(), "anna", lambda line: None)
    library = bench.open_library(Path(sys.argv[1]))
    bench.open_case(library.cases()[0].id)
    serve(bench, AbsentPage, Address(), lambda link: print(link, flush=True))
    print(f"ended with {len(bench.desk.cases)} open cases", flush=True)


if __name__ == "__main__":
    main()
