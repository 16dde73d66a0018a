"""Settings for a Superset whose viewers see dashboards and nothing else; run by Superset's own Python.

`from stack.superset_viewers import CUSTOM_SECURITY_MANAGER, FEATURE_FLAGS, TALISMAN_CONFIG` in its superset_config.py.
"""

from __future__ import annotations

import json
from typing import Any

from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
from superset.exceptions import SupersetSecurityException
from superset.security import SupersetSecurityManager

from stack.chart_queries import chart_refusal, filter_refusal, filters, narrowed_by

FEATURE_FLAGS = {"DASHBOARD_RBAC": True}  # a viewer reads only through the dashboards of its role
# A page loads nothing from another host and calls none, not even the pixel that counts Superset's users.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}


class ViewersSecurityManager(SupersetSecurityManager):  # type: ignore[misc]  # Superset is not in this environment
    """Whoever can read a dataset only through a dashboard can send only the queries of the dashboard's page."""

    def raise_for_access(self, *args: Any, **asked: Any) -> None:
        """Like Superset; also SupersetSecurityException for a query that no chart or filter of the dashboard has."""
        super().raise_for_access(*args, **asked)
        context = asked.get("query_context") or asked.get("viz")
        if context is None or self.can_access_datasource(context.datasource):
            return
        refused = self._refusal(context)
        if refused:
            message = f"No chart of this dashboard requests this (see: {refused})"
            kind = SupersetErrorType.DATASOURCE_SECURITY_ACCESS_ERROR
            raise SupersetSecurityException(SupersetError(error_type=kind, message=message, level=ErrorLevel.WARNING))

    def _refusal(self, context: Any) -> str:
        """What a query context has that no chart or filter of its dashboard has; "" if one has everything."""
        from superset.models.dashboard import Dashboard

        form = context.form_data or {}
        dashboard = self.session.query(Dashboard).filter_by(id=form.get("dashboardId")).one_or_none()
        queries = [vars(query) for query in getattr(context, "queries", [])]
        if dashboard is None or not queries:
            return "dashboardId"
        offered = list(filters(json.loads(dashboard.json_metadata or "{}")))
        if form.get("type") == "NATIVE_FILTER":
            own = (form.get("native_filter_id"), context.datasource.id)
            column = next((column for name, dataset, column in offered if (name, dataset) == own), "")
            return next(filter(None, (filter_refusal(query, column) for query in queries)), "")
        chart = next((one for one in dashboard.slices if one.id == form.get("slice_id")), None)
        if chart is None or chart.datasource != context.datasource:
            return "slice_id"
        filtered = {column for *_, column in offered}.union(*(narrowed_by(one.params_dict) for one in dashboard.slices))
        return next(filter(None, (chart_refusal(query, chart.params_dict, filtered) for query in queries)), "")


CUSTOM_SECURITY_MANAGER = ViewersSecurityManager
