#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "server.h"

#define REVOKE_PATH "/auth/revoke_token/"
#define BATCH 256 /* allocated together */

static struct exchanges spare = TAILQ_HEAD_INITIALIZER(spare);

static void exchange_add_spare(void)
{
	struct exchange *batch = allocate(BATCH, sizeof(*batch));

	for (size_t i = 0; i < BATCH; i++)
		TAILQ_INSERT_TAIL(&spare, &batch[i], place);
}

struct exchange *exchange_new(struct connection *connection)
{
	struct exchange *exchange;

	if (TAILQ_EMPTY(&spare))
		exchange_add_spare();
	exchange = TAILQ_FIRST(&spare);
	TAILQ_REMOVE(&spare, exchange, place);
	memset(exchange, 0, sizeof(*exchange));
	exchange->connection = connection;
	return exchange;
}

void exchange_free(struct exchange *exchange)
{
	if (!exchange)
		return;
	if (exchange->delay)
		TAILQ_REMOVE(&exchange->delay->waiting, exchange, place);
	TAILQ_INSERT_HEAD(&spare, exchange, place);
}

void exchange_set_path(struct exchange *exchange, const void *path, size_t len)
{
	exchange->is_revocation =
		len >= strlen(REVOKE_PATH) && memcmp(path, REVOKE_PATH, strlen(REVOKE_PATH)) == 0;
}

static void exchange_answer(struct exchange *exchange)
{
	exchange->connection->protocol->answer(exchange);
}

void exchange_finish(struct exchange *exchange, struct delay *delay, uint64_t now_ns)
{
	if (exchange->is_revocation)
		exchange->reply = REPLY_REVOKED;
	else
		exchange->reply = exchange->finder.is_found ? REPLY_TOKEN : REPLY_NO_LOGIN;
	if (exchange->reply != REPLY_TOKEN || delay->ns == 0) {
		exchange_answer(exchange);
		return;
	}
	exchange->delay = delay;
	exchange->due_ns = now_ns + delay->ns;
	TAILQ_INSERT_TAIL(&delay->waiting, exchange, place);
}

void delay_run(struct delay *delay, uint64_t now_ns)
{
	struct exchange *exchange;

	while ((exchange = TAILQ_FIRST(&delay->waiting)) && exchange->due_ns <= now_ns) {
		TAILQ_REMOVE(&delay->waiting, exchange, place);
		exchange->delay = NULL;
		exchange_answer(exchange);
	}
}

uint64_t delay_next_ns(const struct delay *delay)
{
	const struct exchange *first = TAILQ_FIRST(&delay->waiting);

	return first ? first->due_ns : UINT64_MAX;
}
