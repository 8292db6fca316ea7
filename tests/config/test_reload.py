"""What changes when a running service is given new settings."""

from dataclasses import replace

from connect.config.reload import ReloadPlan, reload_plan, with_live_changes
from connect.settings import Limits, Listen, LogLevel, LogSettings, Settings, Tenant, Timing

OLD = Settings()
NEW = replace(
    OLD,
    listen=Listen(api_port=1),
    tenant=Tenant(session_secret="hunter2", register_url="https://api.example.com"),
    timing=Timing(lease_grace=30.0, store_command=1.0),
    limits=Limits(run_calls=5),
    log=LogSettings(level=LogLevel.DEBUG),
    gateway_group="blue",
)


def test_nothing_changes_between_equal_settings() -> None:
    assert reload_plan(OLD, Settings()) == ReloadPlan()


def test_changes_are_told_apart_by_what_they_need() -> None:
    assert reload_plan(OLD, NEW) == ReloadPlan(
        live=("tenant.session_secret", "timing.lease_grace", "limits.run_calls", "log.level"),
        restart=(
            "listen.api_port",
            "tenant.register_url",
            "timing.store_command",
            "gateway_group",
        ),
    )


def test_a_plan_does_not_tell_values() -> None:
    assert "hunter2" not in repr(reload_plan(OLD, NEW))


def test_only_live_changes_are_applied() -> None:
    applied = with_live_changes(OLD, NEW)
    assert reload_plan(OLD, applied).restart == ()
    assert reload_plan(applied, NEW).live == ()
    assert applied.timing.lease_grace == 30.0
    assert applied.timing.store_command == OLD.timing.store_command


def test_a_live_setting_outside_sections_is_applied_too() -> None:
    assert with_live_changes(OLD, OLD) == OLD
