"""A login for each of its allocations, which is refused: the program's own, and those of libfcgi,
libcurl, OpenSSL, nghttp2 and cJSON.

    with Place(folder, authority, "HTTP/2", is_cold=True) as place:
        outcome = place.sweep(fastcgi.JSON, step=1)

A cold login makes everything anew, from libcurl's start to the connection: settings are read again
before each. A warm one goes by a kept connection. After each comes a login that nothing is refused,
and that has to work.
"""
import collections
import dataclasses
import itertools
import signal
import time

from servers import client, fastcgi, http2_upstream, procfs, upstream
from servers.opened import Opened
from servers.process import wait_until
from servers.refusal import Refusal
from servers.service import Service, good_login

SERVERS = {"HTTP/1.1": upstream.Upstream, "HTTP/2": http2_upstream.Http2Upstream}
BODIES = {fastcgi.JSON: fastcgi.login_json, fastcgi.FORM: client.form_body}
DEADLINE_S = 1.5  # servers.service.TIMEOUT_MS
LATE_S = 0.1


@dataclasses.dataclass
class Outcome:
    """What became of the logins with a refused allocation, and of those after each."""
    refused: int = 0
    answered: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    hung_up: list = dataclasses.field(default_factory=list)  # without an answer
    sent_twice: list = dataclasses.field(default_factory=list)
    unsent: list = dataclasses.field(default_factory=list)  # answered with a token all the same
    late: list = dataclasses.field(default_factory=list)  # after their deadline
    failed_after: list = dataclasses.field(default_factory=list)  # the next login
    grown_bytes: int = 0  # in use after, beyond what was before

    @property
    def faults(self):
        """What is against the rules, by name; the numbers of the allocations."""
        lists = {"hung up": self.hung_up, "sent twice": self.sent_twice, "unsent": self.unsent,
                 "late": self.late, "failed after": self.failed_after}
        return {name: found for name, found in lists.items() if found}


class Place(Opened):
    """A program whose memory can be refused, and its token server."""

    def __init__(self, folder, authority, version, *, is_cold, settings=None):
        super().__init__()
        self._folder, self._authority = folder, authority
        self._version, self._is_cold = version, is_cold
        self._settings = settings or {}
        self._reloads = 0

    def open(self):
        leaf = self._authority.leaf()
        self.server = self.run(SERVERS[self._version](leaf.certificate, leaf.key))
        self.refusal = self.run(Refusal(self._folder))
        self.service = self.run(Service(self._folder, self._authority, server=self.server,
                                        settings={**self.refusal.env, **self._settings}))
        self.program = self.service.program

    def _times(self, user):
        """How often the token server has seen this login."""
        if self._version == "HTTP/2":
            return self.server.logins()[user]
        return sum(request.form["username"] == [user] for request in self.server.requests)

    def _log_in(self, user, content_type=fastcgi.JSON):
        """The status; None: the program hung up."""
        body = BODIES[content_type](user, "kennwort")
        try:
            return self.service.post(body, content_type).status
        except (fastcgi.HungUp, BrokenPipeError, ConnectionResetError):
            return None

    def _prepare(self):
        """Everything is to be made anew, or nothing."""
        if not self._is_cold:
            while self._log_in("warm") != 200:
                pass
            return
        self._reloads += 1
        self.program.send_signal(signal.SIGHUP)
        wait_until(lambda: self.program.counts["reload"] == self._reloads, 10, "a reload")

    def _reloads_told(self):
        return self.program.counts["reload"] + self.program.counts["reload_refused"]

    def _refuse(self, number, content_type, outcome):
        """One login. False: it does not need so many allocations."""
        self._prepare()
        self.server.requests.clear()
        began = time.monotonic()
        with self.refusal.of(number):
            status = self._log_in("ada", content_type)
        seconds = time.monotonic() - began
        if not self.refusal.refused:
            return False
        outcome.refused += 1
        if status is None:
            outcome.hung_up.append(number)
        else:
            outcome.answered[status] += 1
        if self._times("ada") > 1:
            outcome.sent_twice.append(number)
        if status == 200 and self._times("ada") != 1:
            outcome.unsent.append(number)
        if seconds > DEADLINE_S + LATE_S:
            outcome.late.append(number)
        if self._log_in("grace") != 200 or self._times("grace") != 1:
            outcome.failed_after.append(number)
        self.service.check_alive()
        return True

    def _open_files(self):
        return procfs.open_files(self.program.pid)

    def _used_bytes(self):
        self._prepare()
        return self.refusal.used_bytes(lambda: self._log_in("warm"))

    def sweep(self, content_type, *, first=1, step=1):
        """Refuses the allocation of this number, and then each step-th, until a login is done
        without."""
        outcome = Outcome()
        for _ in range(3):
            self._prepare()
            self._log_in("warm")
        used, fds = self._used_bytes(), self._open_files()
        number = first
        while self._refuse(number, content_type, outcome):
            number += step
        outcome.grown_bytes = self._used_bytes() - used
        wait_until(lambda: self._open_files() <= fds, 10, f"{fds} open files or fewer, as before")
        return outcome

    def sweep_reloads(self, *, first=1, step=1):
        """The same of reloads. How many were refused, or said that they were."""
        refused = 0
        for number in itertools.count(first, step):
            told = self._reloads_told()
            with self.refusal.of(number):
                self.program.send_signal(signal.SIGHUP)
                wait_until(lambda count=told: self._reloads_told() > count, 10, "a reload")
            if not self.refusal.refused:
                return refused
            refused += 1
            assert self._log_in("grace") == 200, f"after a reload without allocation {number}"
