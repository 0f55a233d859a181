"""What somebody else writes who has our exports and nothing else: json, csv, gzip and numpy, and none of our code.

Run as ``python -I -S foreign_reader.py SITE_PACKAGES FOLDER``; prints what it found as JSON.
"""

import csv
import gzip
import json
import sys
from pathlib import Path

sys.path.append(sys.argv[1])  # without the .pth files that would show it our code

import numpy as np

try:
    import DenseLandmarksLib  # noqa: F401
except ImportError:
    pass
else:
    sys.exit("a foreign reader knows none of our code")

folder = Path(sys.argv[2])
REVIEWS = ("predicted", "verified", "corrected", "placed", "unsure")
PRESENCES = ("present", "absent", "unplaced")
found = {}

# datalist.json: positions by index, presence, review, and what training may learn from.
(entry,) = json.loads((folder / "datalist" / "datalist.json").read_text())["training"]
geometry = entry["geometry"]
to_lps = np.array(geometry["direction"]).reshape(3, 3) * geometry["spacing_mm"]
found["datalist"] = {
    point["name"]: [
        point["presence"],
        point["review"],
        None
        if point["index_ijk"] is None
        else (to_lps @ np.array(point["index_ijk"]) + geometry["origin_lps_mm"]).tolist(),
    ]
    for point in entry["points"]
}
found["teaches"] = [point["name"] for point in entry["points"] if point["teaches"]]

# .mrk.json: LPS, presence as Slicer's position status, review as a measurement.
(markup,) = json.loads((folder / "datalist" / entry["landmarks"]).read_text())["markups"]
assert markup["coordinateSystem"] == "LPS"
(codes,) = [one["controlPointValues"] for one in markup["measurements"] if one["name"] == "review"]
found["mrk.json"] = {
    point["label"]: [PRESENCES[code // 10], REVIEWS[code % 10], point["position"] or None]
    for point, code in zip(markup["controlPoints"], codes, strict=True)
}

# .csv: names of columns say the frame.
with (folder / "csv" / "chest-0.csv").open(encoding="utf-8", newline="") as table:
    found["csv"] = {
        row["name"]: [
            row["presence"],
            row["review"],
            [float(row[axis]) for axis in ("l_lps_mm", "p_lps_mm", "s_lps_mm")] if row["l_lps_mm"] else None,
        ]
        for row in csv.DictReader(table)
    }

# COCO: pixels, pixel centres at integers; v = 2 is there.
coco = json.loads((folder / "coco" / "landmarks.coco.json").read_text())
names = {category["id"]: category["keypoints"] for category in coco["categories"]}
found["coco"] = {}
for annotation in coco["annotations"]:
    triples = np.array(annotation["keypoints"]).reshape(-1, 3)
    for name, (x, y, v), more in zip(names[annotation["category_id"]], triples, annotation["landmarks"], strict=True):
        place = (to_lps @ [x, y, 0] + geometry["origin_lps_mm"]).tolist() if v == 2 else None
        found["coco"][name] = [more["presence"], more["review"], place]

# .seg.nrrd: a text header, an empty line, gzipped labels; the layer is the fastest axis.
head, _, voxels = (folder / "datalist" / entry["label"]).read_bytes().partition(b"\n\n")
fields = dict(
    line.replace(":=", ": ", 1).split(": ", 1) for line in head.decode().split("\n") if ": " in line or ":=" in line
)
assert fields["encoding"] in ("gzip", "gz"), fields["encoding"]
sizes = [int(size) for size in fields["sizes"].split()]
kinds = {
    "unsigned char": np.uint8,
    "uint8": np.uint8,
    "uchar": np.uint8,
    "unsigned short": np.uint16,
    "uint16": np.uint16,
}
labels = np.frombuffer(gzip.decompress(voxels), kinds[fields["type"]]).reshape(sizes[::-1])
labels = labels if len(sizes) == 4 else labels[..., None]
found["masks"] = {}
for i in range(len(entry["structures"])):
    layer = labels[..., int(fields[f"Segment{i}_Layer"])]
    rows, columns = np.nonzero(layer[0] == int(fields[f"Segment{i}_LabelValue"]))
    tags = dict(tag.split(":", 1) for tag in fields[f"Segment{i}_Tags"].strip("|").split("|"))
    centre = [float(columns.mean()), float(rows.mean())] if len(rows) else None
    found["masks"][fields[f"Segment{i}_Name"]] = [tags["DenseLandmarks.Review"], len(rows), centre]
print(json.dumps(found))
