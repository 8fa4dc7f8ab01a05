"""Models and indexes over HTTP and MCP, and a search page.

options.py what may be asked for ── catalog.py what is served, by name ── encoder.py texts to vectors
routes/ one file a protocol ── gate.py every request: limits, keys, logs ── app.py ── serve.py the process
page/ the search page ── mcp.py a Model Context Protocol server
"""
