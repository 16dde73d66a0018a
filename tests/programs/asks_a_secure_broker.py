"""What preflight finds out about a broker, its client's settings and a topic."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from jobs.preflight import kafka_cluster
from pipeline_config.preflight.probe import run_all
from pipeline_config.preflight.settings import Settings

kafka_cluster.ANSWER_SECONDS = 30
brokers, folder, topic = sys.argv[1:]
settings = Settings({"KAFKA_BROKERS": brokers, "KAFKA_SECURITY_PATH": folder}, {}, "Airflow")
asked = kafka_cluster.probes(settings, "KAFKA_BROKERS", [topic], "KAFKA_SECURITY_PATH")
outcomes = run_all([replace(probe, limit=60) for probe in asked])
print(json.dumps({outcome.what: (outcome.ok, outcome.found, outcome.fix) for outcome in outcomes}))
