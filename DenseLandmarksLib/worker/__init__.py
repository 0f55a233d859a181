"""Networks run in a process of their own: the client is light and never waits, the server imports torch."""
