"""Metrics for Prometheus at /metrics: requests, seconds, queue, worker process, models."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import JobQueue

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Metrics of one server.

    Args:
        served: the models.
        queue: where requests wait.

    Attributes:
        registry: for `prometheus_client.generate_latest`.
        requests: number of fill requests by status.
        seconds: of filling, including the wait.
    """

    def __init__(self, served: ModelManager, queue: JobQueue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("inpaint_requests", "Fill requests by status.", ["status"], registry=self.registry)
        self.seconds = Histogram(
            "inpaint_fill_seconds",
            "Seconds from request to answer, including the wait.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_State(served, queue))


class _State(Collector):
    def __init__(self, served: ModelManager, queue: JobQueue) -> None:
        self._served, self._queue = served, queue

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        worker, places = self._served.worker(), self._queue.places
        memory = worker.memory_bytes() if worker else 0
        yield GaugeMetricFamily("inpaint_queue_length", "Requests in progress or waiting.", places.borrowed_tokens)
        yield GaugeMetricFamily("inpaint_queue_places", "Places in the queue.", places.total_tokens)
        yield GaugeMetricFamily("inpaint_worker_memory_bytes", "Memory of the worker process.", memory)
        yield CounterMetricFamily("inpaint_worker_restarts", "Restarts of the worker process.", self._served.restarts)
        models = GaugeMetricFamily("inpaint_model_info", "Models in use.", labels=["name", "version"])
        for model in self._served.describe():
            if model["loaded"]:
                models.add_metric([model["name"], model["version"]], 1)
        yield models
