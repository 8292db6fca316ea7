"""The HTTP side of the service: worker API, reads, runs, maintenance, and serving them."""

from connect.api.admin import create_admin
from connect.api.app import create_api
from connect.api.serving import bind, serve_http
from connect.api.worker_api import ReplySender

__all__ = ["ReplySender", "bind", "create_admin", "create_api", "serve_http"]
