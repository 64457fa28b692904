"""Administration: operators, tenants, projects, keys and plans, under `/admin/v1`."""
