"""The sections of the panel in 3D Slicer: they show a session and forward to it. A front end; nothing else imports it."""
