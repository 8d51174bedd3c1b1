/*
 * Sends logins and measures the answers:
 *
 *	logins closed PORT CLIENTS SECONDS WARM
 *		Each client sends the next when the last is answered. Counts when each has had an
 *		answer, and WARM seconds have passed since.
 *	logins rate PORT CLIENTS SECONDS RATE
 *		So many a second, answered or not. An answer's time counts from when its login was
 *		due.
 *	logins burst PORT CLIENTS SECONDS
 *		All connect, then each sends one, all at once. Ends with the last answer, after
 *		SECONDS at most.
 *
 * Prints one line of JSON; before it, for "closed", a line "mark" when the answers begin to count,
 * and one when they cease to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "clients.h"

#define LATE_NS (10 * SECOND_NS)    /* a login that waits for longer at the end is a fault */
#define PATIENCE_NS (2 * SECOND_NS) /* after a run at a rate, for its last answers */

static uint64_t after(uint64_t start, double seconds)
{
	return start + (uint64_t)(seconds * (double)SECOND_NS);
}

/* Tells who reads along that the answers begin, or cease, to count. */
static void mark(void)
{
	puts("mark");
	fflush(stdout);
}

static void run_until(struct clients *clients, uint64_t end)
{
	while (clock_ns() < end) {
		clients_turn(clients, end);
		clients_reopen(clients);
	}
}

static double run_closed(struct clients *clients, double seconds, double warm)
{
	clients->is_closed_loop = true;
	clients->from_ns = UINT64_MAX;
	clients_connect(clients);
	clients_await_answers(clients);
	clients->from_ns = after(clock_ns(), warm);
	run_until(clients, clients->from_ns);
	mark();
	run_until(clients, after(clients->from_ns, seconds));
	mark();
	return seconds;
}

static double run_rate(struct clients *clients, double seconds, double rate)
{
	unsigned long number = 0;
	uint64_t start, end, due;

	clients_connect(clients);
	start = due = clock_ns();
	end = after(start, seconds);
	while (due < end) {
		uint64_t now = clock_ns();
		struct client *client = now >= due ? clients_find_idle(clients) : NULL;

		if (client) {
			client_send(clients, client, due);
			due = after(start, (double)++number / rate);
		}
		clients_turn(clients, now >= due ? now + SECOND_NS / 10000 : due);
		clients_reopen(clients);
	}
	end += PATIENCE_NS;
	while (clients->tally.ended < number && clock_ns() < end)
		clients_turn(clients, end);
	return seconds;
}

static double run_burst(struct clients *clients, double seconds)
{
	uint64_t start, end;

	clients_connect(clients);
	start = clock_ns();
	end = after(start, seconds);
	for (size_t i = 0; i < clients->count; i++)
		if (clients->all[i].state == IDLE)
			client_send(clients, &clients->all[i], start);
	while (clients->tally.ended < clients->count && clock_ns() < end)
		clients_turn(clients, end);
	return (double)(clock_ns() - start) / (double)SECOND_NS;
}

/* ---- what came of it ---- */

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static double percentile_ms(const struct tally *tally, double share)
{
	return tally->good ? tally->took_us[(size_t)(share * (double)(tally->good - 1))] / 1e3 : 0;
}

/* late_ns: how long a login may have been without an answer. */
static void report(struct clients *clients, double seconds, uint64_t late_ns)
{
	struct tally *tally = &clients->tally;
	unsigned long late = 0;
	uint64_t now = clock_ns();

	for (size_t i = 0; i < clients->count; i++)
		if (clients->all[i].state == BUSY && now - clients->all[i].due_ns > late_ns)
			late++;
	if (tally->good > 0)
		qsort(tally->took_us, tally->good, sizeof(*tally->took_us), compare);
	printf("{\"logins\":%zu,\"seconds\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
	       "\"faults\":{\"body\":%lu,\"socket\":%lu,\"timeout\":%lu",
	       tally->good, seconds, percentile_ms(tally, 0.5), percentile_ms(tally, 0.99),
	       tally->bad_body, tally->socket, late);
	for (int status = 0; status <= STATUS_MAX; status++)
		if (tally->by_status[status] > 0)
			printf(",\"%d\":%lu", status, tally->by_status[status]);
	puts("}}");
}

int main(int argc, char **argv)
{
	static struct clients clients;
	const char *mode = argc >= 5 ? argv[1] : "";
	double seconds = argc >= 5 ? atof(argv[4]) : 0;

	if (argc >= 5)
		clients_init(&clients, (uint16_t)atoi(argv[2]), strtoul(argv[3], NULL, 10));
	prctl(PR_SET_TIMERSLACK, 1);
	if (strcmp(mode, "closed") == 0 && argc == 6) {
		report(&clients, run_closed(&clients, seconds, atof(argv[5])), LATE_NS);
	} else if (strcmp(mode, "rate") == 0 && argc == 6) {
		report(&clients, run_rate(&clients, seconds, atof(argv[5])), 0);
	} else if (strcmp(mode, "burst") == 0 && argc == 5) {
		report(&clients, run_burst(&clients, seconds), 0);
	} else {
		fprintf(stderr,
			"usage: logins closed|rate|burst PORT CLIENTS SECONDS [WARM|RATE]\n");
		return 64;
	}
	return 0;
}
