"""What Prometheus reads at /metrics: requests, seconds, the queue, the process that fills, the models."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import JobQueue

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Counts of one server.

    Args:
        served: the models.
        queue: where requests wait.

    Attributes:
        registry: what `prometheus_client.generate_latest` writes.
        requests: to fill, by the answer's status.
        seconds: of filling, waiting included.
    """

    def __init__(self, served: ModelManager, queue: JobQueue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("inpaint_requests", "To fill, by the status.", ["status"], registry=self.registry)
        self.seconds = Histogram(
            "inpaint_fill_seconds", "Of filling, waiting included.", buckets=_SECONDS, registry=self.registry
        )
        self.registry.register(_State(served, queue))


class _State(Collector):
    def __init__(self, served: ModelManager, queue: JobQueue) -> None:
        self._served, self._queue = served, queue

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        worker, places = self._served.worker(), self._queue.places
        memory = worker.memory_bytes() if worker else 0
        yield GaugeMetricFamily("inpaint_queue_length", "Requests filled or waiting.", places.borrowed_tokens)
        yield GaugeMetricFamily("inpaint_queue_places", "That there are.", places.total_tokens)
        yield GaugeMetricFamily("inpaint_worker_memory_bytes", "Of the process that fills.", memory)
        yield CounterMetricFamily("inpaint_worker_restarts", "Of that process.", self._served.restarts)
        models = GaugeMetricFamily("inpaint_model_info", "Models that answer.", labels=["name", "version"])
        for said in self._served.describe():
            if said["loaded"]:
                models.add_metric([said["name"], said["version"]], 1)
        yield models
