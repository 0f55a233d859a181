"""What the multi-scale localiser is measured against, trained by the same loop on the same volumes; never shipped."""
