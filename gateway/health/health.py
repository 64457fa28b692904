"""
Which targets are worth trying.

A target that keeps failing is left alone for a while, then tried with one request at a time, and
then given its share back little by little; one that says when to come back is left alone until
then; a credential that is no good takes all targets of its provider with it.

What stays true: a target that is down comes up again by the clock alone, so no report can take one
out for good. Of n targets that can stand in for one another, at most max(1, max_ejected x n) are
refused at once for failing; one more that fails is *kept*: tried when no better one is left.
Cooling and credentials don't count in this. Only configured targets are remembered; one that is
not known is always up.

Hot: a few calls a request, which cost the same however many targets there are. Other targets are
looked at only when one opens, or when a credential is found to be no good.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random

from ..contract.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    Retry,
)
from . import alerts
from .circuit import Circuit
from .credential import EMPTY, REASONS, REFUSED, Credential
from .retry_budget import RetryBudget
from .settings import HealthSettings
from .targets import Pool, State, TargetHealth, TargetInfo


class Health:
    """
    Hears how attempts end and says which targets to try, and how often.

    `clock` gives seconds that never go back and are above 0. Not for use from several threads.
    """

    def __init__(
        self,
        settings: HealthSettings,
        targets: Mapping[str, TargetInfo],
        *,
        clock: Callable[[], float],
        chance: Random,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._chance = chance
        self._targets: Mapping[str, TargetInfo] = {}
        self._circuits: dict[str, Circuit] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._pools: dict[Pool, list[Circuit]] = {}
        self._providers: dict[str, list[Circuit]] = {}
        self.configure(targets)

    def configure(
        self, targets: Mapping[str, TargetInfo], settings: HealthSettings | None = None
    ) -> None:
        """Take over a new configuration: what is known of targets that stay as they are is kept."""
        self.settings = settings or self.settings
        now = self._clock()
        known = {
            name: circuit
            for name, circuit in self._circuits.items()
            if (info := targets.get(name)) and info.settings == self._targets[name].settings
        }
        credentials = {each.credential.provider: each.credential for each in known.values()}
        pools: dict[Pool, list[Circuit]] = {}
        providers: dict[str, list[Circuit]] = {}
        for name, info in targets.items():
            credential = credentials.setdefault(info.provider, Credential(info.provider))
            circuit = known.setdefault(name, Circuit(name, credential))
            circuit.wary = True  # until somebody has looked at it
            providers.setdefault(info.provider, []).append(circuit)
            for pool in info.pools:
                pools.setdefault(pool, []).append(circuit)
        self._budgets = {
            name: self._budgets.get(name) or RetryBudget(self.settings, now) for name in targets
        }
        self._targets, self._circuits = dict(targets), known
        self._pools, self._providers = pools, providers

    def is_up(self, name: str) -> bool:
        """Whether the target may be tried now. Changes nothing."""
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.wary:
            return True
        now = self._clock()
        return circuit.until() <= now or _is_last_resort(circuit, now)

    def prefers(self, name: str) -> bool:
        """
        Whether a target that is up should be asked before those of which this is not true.

        Not true of one that is kept. Of one that came back a short while ago it is true by chance,
        ever more often, so that its first requests are few and none is refused for it.
        """
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.wary:
            return True
        now = self._clock()
        if circuit.until() > now:
            return False
        share = circuit.share(self.settings, now)
        return share >= 1.0 or self._chance.random() < share

    def admits(self, name: str) -> bool:
        """
        Ask to send one request now.

        True for a target that was open, or whose credential was no good, makes this request its
        probe: until `succeeded`, `failed` or `released` is called, or `probe_timeout` is over, no
        other request is admitted.
        """
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.wary:
            return True
        now = self._clock()
        if circuit.until() > now:
            return _is_last_resort(circuit, now)
        result_by = now + self.settings.probe_timeout
        if circuit.is_open:
            circuit.probe_until = result_by
        if circuit.credential.is_disabled:
            circuit.credential.probe_until = result_by
        circuit.calm(now)
        return True

    def probes(self, name: str) -> bool:
        """Whether a request that was admitted just now is the target's probe."""
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.wary:
            return False
        return circuit.is_open or circuit.credential.is_disabled

    def sent(self, name: str) -> None:
        """A request's first attempt goes to the target: a share of a retry is earned."""
        budget = self._budgets.get(name)
        if budget is not None:
            budget.sent(self._clock())

    def may_retry(self, name: str) -> bool:
        """Take a retry out of the budget of the target that would receive it."""
        budget = self._budgets.get(name)
        return budget is None or budget.take(self.settings, self._clock())

    def succeeded(self, name: str) -> None:
        """The target answered. While it is open, an answer to an earlier request proves nothing."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return
        if not circuit.wary:  # the usual case reads no clock
            circuit.note(self.settings, failed=False)
            return
        now = self._clock()
        credential = circuit.credential
        if credential.is_disabled and credential.disabled_until <= now:
            credential.enable()
            alerts.credential_enabled(credential)
        if not circuit.is_open:
            circuit.note(self.settings, failed=False)
        elif circuit.open_until <= now or circuit.kept:
            self._close(circuit, now)

    def released(self, name: str) -> None:
        """The probe says nothing about the target, or not yet: another may be admitted."""
        circuit = self._circuits.get(name)
        if circuit is not None:
            circuit.probe_until = circuit.credential.probe_until = 0.0

    def failed(self, name: str, error: ProviderError) -> None:
        """The attempt failed. An error that is not the target's fault does it no harm."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return
        if isinstance(error, ProviderAuthFailed):
            self._disable(circuit, REFUSED, self.settings.credential_cool_down)
        elif isinstance(error, ProviderQuotaExhausted):
            self._disable(circuit, EMPTY, self.settings.quota_cool_down)
        elif error.harms_health:
            self._blame(circuit, error)
        elif error.retry is Retry.FINAL:
            self.succeeded(name)  # it understood the request well enough to find fault with it
        # Anything else was not sent, so the probe that may be under way is another request's.

    def probed(self, provider: str, *, passed: bool, holds: float = 0.0) -> None:
        """
        An active probe of the provider ended. A failure holds for so many seconds.

        Passing closes the circuits that failed probes have seen open. One that requests alone have
        opened is to be proved by a request, but need not wait for it any longer.
        """
        now = self._clock()
        for circuit in self._providers.get(provider, ()):
            if passed:
                self._seen_well(circuit, now)
            else:
                self._seen_ill(circuit, now, holds)

    def soonest(self, names: Iterable[str]) -> float:
        """Seconds until the first of `names` may be tried: 0 if one may be, or none is named."""
        now = self._clock()
        waits = [_wait(circuit, now) for circuit in map(self._circuits.get, names)]
        return min(waits, default=0.0)

    def ill_for(self, name: str) -> float:
        """Seconds since the first of the failures in a row, 0 if the last attempt was none."""
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.consecutive:
            return 0.0
        return self._clock() - circuit.failing_since

    def reason(self, name: str) -> str:
        """The code of what disabled the credential of the target's provider, or nothing."""
        circuit = self._circuits.get(name)
        return "" if circuit is None else circuit.credential.reason

    def states(self) -> dict[str, TargetHealth]:
        """What is known of every configured target, for metrics and the health page."""
        now = self._clock()
        return {
            name: TargetHealth(
                _state(circuit, now),
                max(0.0, circuit.until() - now),
                circuit.consecutive,
                circuit.credential.reason,
                circuit.share(self.settings, now),
            )
            for name, circuit in self._circuits.items()
        }

    def credentials(self) -> dict[tuple[str, str], bool]:
        """By provider and reason, whether its credential is disabled for that reason."""
        disabled = {name: each[0].credential.reason for name, each in self._providers.items()}
        return {
            (name, reason): reason == found
            for name, found in disabled.items()
            for reason in REASONS
        }

    def ejections(self) -> dict[str, int]:
        """By target, how often it was found to fail too often."""
        return {name: circuit.ejections for name, circuit in self._circuits.items()}

    def retries_refused(self) -> dict[str, int]:
        """By target, the retries for which its budget had nothing left."""
        return {name: budget.refused for name, budget in self._budgets.items()}

    def _disable(self, circuit: Circuit, reason: str, pause: float) -> None:
        credential = circuit.credential
        is_news = credential.disable(reason, self._clock() + pause)
        circuit.probe_until = 0.0
        for each in self._providers[credential.provider]:
            each.wary = True
        if is_news:
            alerts.credential_disabled(credential, circuit.name)

    def _blame(self, circuit: Circuit, error: ProviderError) -> None:
        now = self._clock()
        circuit.failing_since = circuit.failing_since if circuit.consecutive else now
        circuit.credential.probe_until = 0.0  # of which this error says nothing
        pause = self._told_pause(error)
        if pause > 0.0:
            circuit.cool(now + pause)
            if isinstance(error, ProviderRateLimited):
                circuit.probe_until = 0.0  # it works and said when to come back: no failure
                return
        if circuit.open_until > now:
            return  # an earlier request's end: counting it would lengthen the pause
        circuit.note(self.settings, failed=True)
        if circuit.is_open or circuit.is_too_much(self.settings):
            self._open(circuit, now)

    def _told_pause(self, error: ProviderError) -> float:
        """Seconds that the upstream asked for, 0 if it did not."""
        told = error.retry_after
        # Not `max`: a NaN must count as nothing told.
        return min(told, self.settings.max_retry_after) if told is not None and told > 0 else 0.0

    def _seen_well(self, circuit: Circuit, now: float) -> None:
        if circuit.is_open and circuit.failed_probes:
            self._close(circuit, now)
        elif circuit.is_open:
            circuit.try_now(now)
        circuit.failed_probes = 0

    def _seen_ill(self, circuit: Circuit, now: float, holds: float) -> None:
        circuit.failed_probes += 1
        if not circuit.is_open and circuit.failed_probes >= self.settings.consecutive_failures:
            self._open(circuit, now)
        if circuit.is_open:
            circuit.hold(now + holds)

    def _open(self, circuit: Circuit, now: float) -> None:
        is_news = not circuit.is_open
        circuit.open(self.settings, now, self._chance, kept=not self._has_room(circuit))
        if is_news:
            alerts.target_opened(circuit)

    def _close(self, circuit: Circuit, now: float) -> None:
        circuit.close(self.settings, now)
        circuit.calm(now)
        alerts.target_closed(circuit)

    def _has_room(self, circuit: Circuit) -> bool:
        """Whether it may be refused beside those of its pools that are."""
        for name in self._targets[circuit.name].pools:
            pool = self._pools[name]
            # The addition makes up for shares that no float can hold.
            most = max(1, int(self.settings.max_ejected * len(pool) + 1e-9))
            if sum(each.is_ejected for each in pool if each is not circuit) >= most:
                return False
        return True


def _is_last_resort(circuit: Circuit, now: float) -> bool:
    return circuit.kept and circuit.barred_until() <= now


def _wait(circuit: Circuit | None, now: float) -> float:
    if circuit is None:
        return 0.0
    return max(0.0, (circuit.barred_until() if circuit.kept else circuit.until()) - now)


def _state(circuit: Circuit, now: float) -> State:
    if max(circuit.cooled_until, circuit.credential.disabled_until) > now:
        return "cooling"
    if circuit.open_until > now:
        return "kept" if circuit.kept else "open"
    return "probing" if circuit.is_open or circuit.credential.is_disabled else "up"
