"""The API of the running controller: HTTP with JSON, under /api/v1, on a unix socket.

    socket -> access.py (who may) -> bounds.py (how much) -> application.py -> personas.py, policies.py, ... -> Service

Resources have the shape of the YAML: apiVersion, kind, metadata, spec (what people set or ask), status (what is so).
Errors are problems (RFC 9457), see problem.py.  What a resource says comes from app/answers, so a command prints the
same whether it asks the controller or a store.
"""
