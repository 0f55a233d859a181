"""The networks themselves (torch and MONAI; never imported by a GUI process)."""
