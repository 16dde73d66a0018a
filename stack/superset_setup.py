"""Run by Superset's own Python: sets up its metadata, the two users, the viewers' role, and the assets; repeatable.

`python superset_setup.py FILE`, where FILE is JSON: admin and viewer (passwords), assets (folder), database_uri.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from flask_migrate import upgrade
from superset.app import create_app

DATABASE_FILE = "databases/tripclick.yaml"
VIEWER_ROLE = "Viewer"
# What a dashboard's page requests; the data come through the role's dashboards (DASHBOARD_RBAC).
VIEWER_RIGHTS = (
    ("can_read", "Dashboard"),
    ("can_read", "Chart"),
    ("can_dashboard", "Superset"),
    ("can_log", "Superset"),
    ("can_read", "DashboardFilterStateRestApi"),
    ("can_write", "DashboardFilterStateRestApi"),
    ("can_read", "DashboardPermalinkRestApi"),
    ("can_write", "DashboardPermalinkRestApi"),
    ("can_read", "CurrentUserRestApi"),
    ("can_read", "Theme"),
    ("can_time_range", "Api"),
    ("can_list", "DynamicPlugin"),
    ("can_read", "CssTemplate"),
    ("menu_access", "Dashboards"),
)


def main() -> None:
    """Set up."""
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    app = create_app()
    with app.app_context():
        from superset import appbuilder, security_manager

        upgrade(directory=str(Path(app.root_path) / "migrations"))
        # A new database has no permissions yet, and the sync gives the administrator only those that it finds.
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        admin = user("admin", "Admin", wanted["admin"])
        viewer_role()
        user("viewer", VIEWER_ROLE, wanted["viewer"])
        from superset.utils.core import override_user

        with override_user(admin):
            import_assets(Path(wanted["assets"]), wanted["database_uri"])


def user(name: str, role: str, password: str) -> Any:
    """The user with this role and password."""
    from superset import db, security_manager

    found = security_manager.find_user(name)
    if found is None:
        roles = security_manager.find_role(role)
        found = security_manager.add_user(name, name, "of TripClick", f"{name}@localhost", roles, password)
    else:
        security_manager.reset_password(found.id, password)
    db.session.commit()
    return found


def viewer_role() -> None:
    """The role of those who view dashboards and do nothing else."""
    from superset import db, security_manager

    role = security_manager.add_role(VIEWER_ROLE)
    role.permissions = [security_manager.add_permission_view_menu(*right) for right in VIEWER_RIGHTS]
    db.session.commit()


def import_assets(folder: Path, database_uri: str) -> None:
    """The assets of a folder; columns and their descriptions come from the tables themselves."""
    from superset import db, security_manager
    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard

    contents = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml"))
    }
    database = yaml.safe_load(contents[DATABASE_FILE]) | {"sqlalchemy_uri": database_uri}
    ImportAssetsCommand({**contents, DATABASE_FILE: yaml.safe_dump(database)}).run()
    for table in db.session.query(SqlaTable):
        table.fetch_metadata()
    role = security_manager.find_role(VIEWER_ROLE)
    for dashboard in db.session.query(Dashboard):
        dashboard.roles = [role]
    db.session.commit()


if __name__ == "__main__":
    main()
