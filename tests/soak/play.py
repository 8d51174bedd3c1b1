"""Plays scenes, one after the other, and judges them when all are at rest."""
import contextlib
import dataclasses

from servers import fastcgi
from soak.allocations import Place
from soak.scenes import SCENES, missing
from soak.stage import Found, Stage


@dataclasses.dataclass(frozen=True)
class Result:
    """found: None where the scene cannot be played here. missed: goals."""
    name: str
    version: str
    found: Found
    missed: list  # (name, sentence)

    @property
    def label(self):
        return f"{self.name}, {self.version}"

    def missed_for(self, ignoring=()):
        """The sentences."""
        return [text for name, text in self.missed if name not in ignoring]


def _open_stage(stack, folder, authority, name, version, plan):
    scene = SCENES[name]
    wrapper = scene.wrapper(folder) if scene.wrapper else ()
    stage = Stage(folder, authority, version, plan, wrapper=wrapper, host=scene.host)
    if scene.around:
        stack.enter_context(scene.around(stage))
    return stack.enter_context(stage)


def scenes(folder, authority, pairs, plan, say):
    """Plays the scenes of these (name, version) pairs; a list of Result. All are left to come to
    rest together, which takes longer than a scene."""
    played, results = [], []
    with contextlib.ExitStack() as stack:
        for name, version in pairs:
            reason = missing(SCENES[name])
            if reason:
                say(f"{name}: {reason}")
                continue
            say(f"{name}, {version}: {SCENES[name].text} ...")
            stage = _open_stage(stack, folder, authority, name, version, plan)
            with stage.crowd() as crowd:
                crowd.wait_for_more(min(plan.clients, 10))
                SCENES[name].play(stage)
            played.append((name, version, stage))
            say(f"  {len(crowd.logins)} logins: {dict(crowd.answered)}")
        say("Waiting until all rest ...")
        for name, version, stage in played:
            stage.settle()
            found = stage.find()
            results.append(Result(name, version, found,
                                  [*goals(found, SCENES[name]), *stage.check_programs()]))
    return results


GOALS = {
    "twice": "answered twice", "hung": "hung", "lost": "lost", "outside": "with a foreign status",
    "called_twice": "sent upstream twice", "tokens_unseen": "with a token that nobody gave out",
    "garbled": "garbled on their way upstream", "late": "over 100 ms after the deadline", "by_nginx": "answered by nginx alone"}


def goals(found, scene):
    """Those that were missed: (name, sentence)."""
    for name, text in GOALS.items():
        count = getattr(found, name)
        if count and not (name == "by_nginx" and scene.may_lack):
            yield name, f"{count} logins {text}"
    if not found.sent or found.once != found.sent:
        yield "once", f"{found.once} of {found.sent} logins answered once"
    if not found.is_at_rest:
        yield "rest", f"files {found.fds}, KiB {found.kib}: more than before"


def allocations(folder, authority, say):
    """Each allocation of a login refused, by what makes the login; Outcomes by name."""
    outcomes = {}
    for version in ("HTTP/1.1", "HTTP/2"):
        for is_cold in (False, True):
            name = f"{version}, {'all made anew' if is_cold else 'a kept connection'}"
            say(f"Refusing each allocation of a login: {name} ...")
            with Place(folder, authority, version, is_cold=is_cold) as place:
                outcomes[name] = place.sweep(fastcgi.JSON)
    return outcomes
