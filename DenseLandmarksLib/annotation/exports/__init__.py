"""Files written from a prediction: markups, segmentation, overlay and report. Written beside and renamed."""
