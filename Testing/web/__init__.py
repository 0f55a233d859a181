"""The browser front end, driven through HTTP, WebSocket and a real browser."""
