"""The parts of the benchmark: what each measures, and its lines of the report."""
import dataclasses
import textwrap

from bench import (hostile, idle, in_flight, instructions, machine, others, ours, plot, profile, record,
                   report, table, workers)

NOTE_WIDTH = 118
SUBJECTS = (others.Floor, others.Lua, others.Go, others.Threads, others.Express,
            ours.Ours, ours.OursSilent, ours.OursNotKept, ours.OursApache)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long. warm_s, seconds and rate_s: of each run of the main table, before it counts, at
    full load, and at the steady rate; long_s: of each run of the other parts; idle_s: before idle
    memory is read."""
    rounds: int
    warm_s: int
    seconds: int
    is_rate_in_each_round: bool  # else in the last alone
    rate_s: int
    long_s: int
    idle_s: int


FULL = Plan(rounds=5, warm_s=2, seconds=5, is_rate_in_each_round=True, rate_s=5, long_s=5,
            idle_s=22)
QUICK = Plan(rounds=2, warm_s=1, seconds=2, is_rate_in_each_round=False, rate_s=1, long_s=2,
             idle_s=1)


def run_table(place, plan, say):
    result = table.run(place, SUBJECTS, plan, say)
    plot.draw_costs(SUBJECTS, result, place.build / "cost.svg")
    note = f"{report.main_note(result, plan.seconds)} {machine.when_and_where()}"
    shown = [*report.main_table(SUBJECTS, result), "", *textwrap.wrap(note, NOTE_WIDTH)]
    return [*record.marked("table", shown), "", "![CPU of a login](cost.svg)"]


def run_instructions(place, plan, say):
    del plan
    found = instructions.run(place, say)
    sentence = report.instruction_sentence(found, machine.commit())
    return [*record.marked("instructions", [sentence]), "", *report.instruction_lines(found)]


def run_profile(place, plan, say):
    return report.profile_lines(*profile.run(place, seconds=plan.long_s, say=say))


def run_in_flight(place, plan, say):
    flights = in_flight.run(place, cases=in_flight.cases_in_full(), seconds=plan.long_s, say=say)
    plot.draw_flights(flights, place.build / "in-flight.svg")
    return [*report.flight_lines(flights), "",
            "![CPU of a login by logins in flight](in-flight.svg)"]


def run_bursts(place, plan, say):
    del plan
    return report.burst_lines(in_flight.run_bursts(place, clients=5000, say=say))


def run_workers(place, plan, say):
    return report.worker_lines(workers.run(place, rounds=plan.rounds, seconds=plan.seconds,
                                           say=say))


def run_idle(place, plan, say):
    del plan
    return report.idle_lines(idle.run(place, seconds=10, say=say))


def run_hostile(place, plan, say):
    found = hostile.run(place, attacks=hostile.ATTACKS, rounds=min(plan.rounds, hostile.ROUNDS),
                        seconds=min(plan.rate_s, hostile.SECONDS), say=say)
    return [*report.hostile_lines(found), "", machine.when_and_where()]


# {name: (heading, what runs it)}
ALL = {
    "table": ("What a login costs", run_table),
    "instructions": ("Instructions per login, by callgrind", run_instructions),
    "profile": ("Where the program's time goes, by perf", run_profile),
    "in-flight": ("Logins in flight", run_in_flight),
    "bursts": ("A burst of logins, upstream 300 ms", run_bursts),
    "workers": ("`--workers`", run_workers),
    "hostile": ("Logins while others attack", run_hostile),
    "idle": ("Idle", run_idle),
}
IN_QUICK = ("table", "instructions")
