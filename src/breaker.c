#include "breaker.h"

#include "ceilings.h"

/* Right also where the clock wraps around. */
static bool is_over(uint64_t since_us, unsigned ms, uint64_t now_us)
{
	return now_us - since_us >= ms * UINT64_C(1000);
}

static bool is_before(uint64_t us, uint64_t other_us)
{
	return (int64_t)(us - other_us) < 0;
}

static bool is_old_news(const struct breaker *breaker, uint64_t asked_us)
{
	return breaker->good_us > 0 && is_before(asked_us, breaker->good_us);
}

static enum breaker_turn take_good(struct breaker *breaker, uint64_t now_us)
{
	bool was_open = breaker->is_open;

	breaker->is_open = false;
	breaker->is_known = true;
	breaker->fault = FAULT_NONE;
	breaker->downs = 0;
	breaker->doubts = 0;
	breaker->backoff_ms = 0;
	breaker->heard_us = now_us;
	breaker->good_us = now_us;
	return was_open ? BREAKER_CLOSES : BREAKER_STAYS;
}

static void learn(struct breaker *breaker, enum fault fault, uint64_t now_us)
{
	breaker->is_known = true;
	breaker->fault = fault;
	breaker->heard_us = now_us;
}

static enum breaker_turn open_up(struct breaker *breaker, enum fault fault, unsigned retry_after_s,
				 uint64_t now_us)
{
	bool is_news = !breaker->is_open || breaker->fault != fault;

	if (!breaker->is_open) {
		breaker->opened_us = now_us;
		breaker->refused = 0;
		breaker->backoff_ms = BREAKER_PAUSE_MIN_MS;
	} else if (breaker->backoff_ms < BREAKER_PAUSE_MAX_MS) {
		breaker->backoff_ms *= 2;
	}
	if (breaker->backoff_ms > BREAKER_PAUSE_MAX_MS)
		breaker->backoff_ms = BREAKER_PAUSE_MAX_MS;
	breaker->pause_ms = breaker->backoff_ms;
	if (breaker->pause_ms < retry_after_s * 1000)
		breaker->pause_ms = retry_after_s * 1000;
	breaker->is_open = true;
	learn(breaker, fault, now_us);
	return is_news ? BREAKER_OPENS : BREAKER_STAYS;
}

enum breaker_way breaker_admit(struct breaker *breaker, uint64_t now_us)
{
	if (!breaker->is_open || breaker->is_off)
		return BREAKER_PASS;
	if (!breaker->is_probing && is_over(breaker->heard_us, breaker->pause_ms, now_us))
		return BREAKER_PROBE;
	breaker->refused++;
	return BREAKER_REFUSE;
}

enum breaker_way breaker_inquire(const struct breaker *breaker, uint64_t now_us)
{
	bool is_good = breaker->fault == FAULT_NONE && breaker->downs + breaker->doubts == 0;
	unsigned fresh_ms = is_good ? HEALTH_FRESH_MS : HEALTH_RETRY_MS;

	if (breaker->is_open)
		fresh_ms = breaker->pause_ms;
	if (breaker->is_off)
		return BREAKER_PASS;
	if (breaker->is_probing)
		return breaker->is_known ? BREAKER_PASS : BREAKER_REFUSE;
	return breaker->is_known && !is_over(breaker->heard_us, fresh_ms, now_us) ? BREAKER_PASS
										  : BREAKER_PROBE;
}

/* Where one user is all there is, his faults are all that is heard: they are not to bring about a
 * probe each. */
static enum breaker_turn doubt(struct breaker *breaker, uint64_t now_us)
{
	bool may_probe =
		!breaker->is_probing && (breaker->asked_us == 0 ||
					 is_over(breaker->asked_us, BREAKER_PAUSE_MIN_MS, now_us));

	if (breaker->doubts < BREAKER_FAULTS_MAX)
		breaker->doubts++;
	return breaker->doubts == BREAKER_FAULTS_MAX && may_probe ? BREAKER_DOUBTS : BREAKER_STAYS;
}

enum breaker_turn breaker_hear(struct breaker *breaker, enum breaker_news news, enum fault fault,
			       uint64_t asked_us, uint64_t now_us)
{
	if (breaker->is_off || news == BREAKER_NO_NEWS)
		return BREAKER_STAYS;
	if (news == BREAKER_GOOD)
		return take_good(breaker, now_us);
	if (breaker->is_open || is_old_news(breaker, asked_us))
		return BREAKER_STAYS;
	if (news == BREAKER_DOUBTFUL)
		return doubt(breaker, now_us);
	if (news == BREAKER_DOWN && ++breaker->downs < BREAKER_FAULTS_MAX)
		return BREAKER_STAYS;
	return open_up(breaker, fault, 0, now_us);
}

void breaker_begin_probe(struct breaker *breaker, uint64_t now_us)
{
	breaker->is_probing = true;
	breaker->asked_us = now_us;
}

enum breaker_turn breaker_end_probe(struct breaker *breaker, enum breaker_news news,
				    enum fault fault, unsigned retry_after_s, uint64_t now_us)
{
	breaker->is_probing = false;
	if (breaker->is_off || news == BREAKER_NO_NEWS)
		return BREAKER_STAYS;
	if (news == BREAKER_GOOD)
		return take_good(breaker, now_us);
	if (is_old_news(breaker, breaker->asked_us))
		return BREAKER_STAYS;
	/* That no user has met the fault so far is reason enough to let the next one try. */
	if (news == BREAKER_DOUBTFUL && !breaker->is_open && breaker->doubts < BREAKER_FAULTS_MAX) {
		learn(breaker, fault, now_us);
		return BREAKER_STAYS;
	}
	return open_up(breaker, fault, retry_after_s, now_us);
}

bool breaker_allows_trial(const struct breaker *breaker)
{
	return breaker->is_open && breaker->backoff_ms == BREAKER_PAUSE_MAX_MS;
}

unsigned breaker_retry_after_s(const struct breaker *breaker, uint64_t now_us)
{
	uint64_t gone_ms = (now_us - breaker->heard_us) / 1000;
	uint64_t rest_ms = gone_ms < breaker->pause_ms ? breaker->pause_ms - gone_ms : 0;

	return rest_ms > 1000 ? (unsigned)((rest_ms + 999) / 1000) : 1;
}
