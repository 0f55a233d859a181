"""The case library: a folder of images, what was decided about each, by whom, and every state it was saved in.

::

    library.json                      format, id, name, and the salt of the case and patient keys
    landmarks/<name>-<hash>.json      one file for each landmark of the template extension
    cases/<case id>/case.json         what never changes: name, image, original geometry
    cases/<case id>/image-0001.json   where the image went, if it was moved
    cases/<case id>/arrays/           predictions and painted masks, called by their content
    cases/<case id>/revisions/0001/   landmarks.mrk.json, structures.seg.nrrd, sidecar.json, summary.json

No file is ever changed and nothing is locked, so any number of people may work in one folder on a network share. What
has to be whole is written under a hidden name and renamed; of two who want the same name, the second takes another.
"""
