"""YAML files → Airflow's DAGs. What the check needs imports no Airflow, so that it is fast.

* Read: reader, yaml_errors, schema, json_schema, schemas/; project and model hold what is read.
* Check: checks/, guard, problem. They ask jobs (parsers, argparse_parts, job_contract, flows), operators (classes),
  templates (templates, stand_ins), schedules and connection_types.
* Build: cache, compiler, loader, airflow_objects, documentation; operators/, docker_connection, lineage.
* Commands: command_line, errors; fmt (layout, key_order, yaml_text), explain, editor_schema, new (for_job), render,
  graph, plan (differences, revision, running_airflow), deploy, migrate (migrate_tasks, dag_factory_values), preflight/,
  airflow_import.
"""
