"""What Prometheus reads at /metrics. Labels have few values, none from a request."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from gr2.serving.messages import Answer

SECONDS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    def __init__(self):
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        registered = {"registry": self.registry}
        self.requests = Counter("gr2_requests", "Requests answered", ["route", "status"], **registered)
        self.seconds = Histogram(
            "gr2_request_seconds",
            "Time of a request from the last byte of its body",
            ["route"],
            buckets=SECONDS,
            **registered,
        )
        self.queue = Gauge("gr2_queue", "Requests that are waiting for the engine", **registered)
        self.batches = Histogram("gr2_batch_size", "Requests in a batch", buckets=SIZES, **registered)
        self.batch_seconds = Histogram(
            "gr2_batch_seconds", "The engine's time for a batch", buckets=SECONDS, **registered
        )
        self.fallbacks = Counter("gr2_fallbacks", "Answers that fall back to the input order", ["reason"], **registered)
        self.invalid = Counter("gr2_invalid_answers", "A language model's unusable answers", **registered)
        self.copies = Counter(
            "gr2_copies", "Rankings that equal the input order without being a fallback", **registered
        )
        self.unranked = Counter("gr2_unranked_candidates", "Candidates that kept their place", ["why"], **registered)
        self.restarts = Counter("gr2_engine_restarts", "Attempts to start the engine again", **registered)
        self.ready = Gauge("gr2_ready", "1 if the engine answers", **registered)
        self.model = Gauge("gr2_model", "The model that answers", ["version"], **registered)

    def set_model(self, version: str) -> None:
        self.model.clear()
        self.model.labels(version).set(1)

    def count(self, answer: Answer) -> None:
        if answer.fallback:
            self.fallbacks.labels(answer.fallback).inc()
            self.invalid.inc(answer.fallback == "unusable")
        elif answer.order == list(range(len(answer.order))):
            self.copies.inc()
        for why in (answer.marks or {}).values():
            self.unranked.labels(why).inc()

    def show(self) -> bytes:
        return generate_latest(self.registry)
