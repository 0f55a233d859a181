"""Reading files of other people, one format per file, whatever state they are in."""
