from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = "apps.outbox"

    def ready(self) -> None:
        from apps.accounts import audience, signals
        from apps.core import health, metrics
        from apps.outbox import bridge, lag, receivers, relay, selectors

        audience.register_newest_seqs(selectors.newest_seqs)
        signals.user_disabled.connect(receivers.revoke_everything)
        health.report("broadcast", bridge.answers)
        metrics.on_scrape(lag.metrics)
        metrics.on_scrape(relay.overdue)
