"""The same work in a browser: pages show a workbench and forward to it. A front end; nothing else imports it."""
