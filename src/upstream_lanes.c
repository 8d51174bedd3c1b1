#include "upstream_lanes.h"

#include <stdlib.h>

#include "ceilings.h"
#include "memory.h"
#include "upstream_drive.h"

struct upstream_lane {
	TAILQ_ENTRY(upstream_lane) entry;
	LIST_ENTRY(upstream_lane) roomy_entry; /* while there is room */
	struct upstream_lanes *lanes;
	CURLM *multi;
	struct upstream_drive drive;
	size_t transfer_count;
	size_t transfers_max;
	unsigned long refusals_before; /* memory_refusals() when it was made */
};

static bool has_room(const struct upstream_lane *lane)
{
	return lane->transfer_count < lane->transfers_max;
}

/* Takes it out, so that no transfer is added any more. */
static void withdraw(struct upstream_lane *lane)
{
	struct upstream_lanes *lanes = lane->lanes;

	if (has_room(lane))
		LIST_REMOVE(lane, roomy_entry);
	lane->transfers_max = 0;
	TAILQ_REMOVE(&lanes->all, lane, entry);
	lanes->count--;
}

static void lane_free(struct upstream_lane *lane)
{
	curl_multi_cleanup(lane->multi);
	upstream_drive_rest(&lane->drive);
	free(lane);
}

static void on_drive_progress(struct upstream_drive *drive)
{
	struct upstream_lane *lane = CONTAINER(drive, struct upstream_lane, drive);
	struct upstream_lanes *lanes = lane->lanes;

	lanes->on_progress(lanes, lane->multi);
	if (!drive->has_failed)
		return;
	withdraw(lane);
	/* Another may be made in its place, and needs the timer. */
	upstream_drive_rest(drive);
	lanes->on_failure(lanes, lane);
	lane_free(lane);
}

/* NULL without memory. */
static struct upstream_lane *make_lane(struct upstream_lanes *lanes)
{
	size_t left = lanes->connections_max - lanes->count * LANE_TRANSFERS;
	struct upstream_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->multi = curl_multi_init();
	if (!lane->multi) {
		free(lane);
		return NULL;
	}
	lane->lanes = lanes;
	lane->refusals_before = memory_refusals();
	lane->transfers_max = left < LANE_TRANSFERS ? left : LANE_TRANSFERS;
	upstream_drive_open(&lane->drive, lanes->loop, on_drive_progress);
	upstream_drive_use(&lane->drive, lane->multi);
	curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(lane->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)lane->transfers_max);
	curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, (long)lane->transfers_max);
	TAILQ_INSERT_TAIL(&lanes->all, lane, entry);
	LIST_INSERT_HEAD(&lanes->roomy, lane, roomy_entry);
	lanes->count++;
	return lane;
}

/* The one to run the next transfer. */
static struct upstream_lane *find_lane(struct upstream_lanes *lanes)
{
	struct upstream_lane *lane = LIST_FIRST(&lanes->roomy);

	if (!lane && lanes->count * LANE_TRANSFERS < lanes->connections_max)
		lane = make_lane(lanes);
	if (lane)
		return lane;
	/* Each in its turn. */
	lane = TAILQ_FIRST(&lanes->all);
	if (lane) {
		TAILQ_REMOVE(&lanes->all, lane, entry);
		TAILQ_INSERT_TAIL(&lanes->all, lane, entry);
	}
	return lane;
}

void upstream_lanes_open(struct upstream_lanes *lanes, struct loop *loop, size_t connections_max,
			 void (*on_progress)(struct upstream_lanes *lanes, CURLM *multi),
			 void (*on_failure)(struct upstream_lanes *lanes,
					    const struct upstream_lane *lane))
{
	*lanes = (struct upstream_lanes){.loop = loop,
					 .connections_max = connections_max,
					 .on_progress = on_progress,
					 .on_failure = on_failure};
	TAILQ_INIT(&lanes->all);
	LIST_INIT(&lanes->roomy);
	/* Without one each lane looks names up for itself. */
	lanes->names = curl_share_init();
	if (lanes->names)
		curl_share_setopt(lanes->names, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
}

struct upstream_lane *upstream_lanes_add(struct upstream_lanes *lanes, CURL *easy)
{
	struct upstream_lane *lane = find_lane(lanes);

	curl_easy_setopt(easy, CURLOPT_SHARE, lanes->names);
	if (!lane || curl_multi_add_handle(lane->multi, easy) != CURLM_OK) {
		curl_easy_setopt(easy, CURLOPT_SHARE, NULL);
		return NULL;
	}
	lane->transfer_count++;
	if (lane->transfer_count == lane->transfers_max)
		LIST_REMOVE(lane, roomy_entry);
	return lane;
}

void upstream_lanes_remove(struct upstream_lane *lane, CURL *easy)
{
	bool had_room = has_room(lane);

	curl_multi_remove_handle(lane->multi, easy);
	curl_easy_setopt(easy, CURLOPT_SHARE, NULL);
	lane->transfer_count--;
	if (!had_room && has_room(lane))
		LIST_INSERT_HEAD(&lane->lanes->roomy, lane, roomy_entry);
}

unsigned long upstream_lane_refusals_before(const struct upstream_lane *lane)
{
	return lane->refusals_before;
}

void upstream_lane_fail(struct upstream_lane *lane)
{
	lane->drive.has_failed = true;
}

void upstream_lanes_drop(struct upstream_lanes *lanes)
{
	struct upstream_lane *lane;

	while ((lane = TAILQ_FIRST(&lanes->all))) {
		TAILQ_REMOVE(&lanes->all, lane, entry);
		lane_free(lane);
	}
	LIST_INIT(&lanes->roomy);
	lanes->count = 0;
}

void upstream_lanes_close(struct upstream_lanes *lanes)
{
	if (!lanes->loop)
		return;
	upstream_lanes_drop(lanes);
	curl_share_cleanup(lanes->names);
}
