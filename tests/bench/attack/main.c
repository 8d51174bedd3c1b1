/*
 * Peers that attack, at a steady rate:
 *
 *	attack ADDRESS FILE PIECE CONNECTIONS RATE SECONDS MODE
 *
 * Each of the connections to ADDRESS, a Unix socket's path or a port of 127.0.0.1, sends what is in
 * FILE, PIECE bytes at a time (0: all at once). RATE pieces a second are sent, on one connection
 * after the other. MODE says what comes after the last: "again", the first on the same connection;
 * "close", another connection; "unread", as "again", but what comes back is never read. Whoever is
 * hung up on connects anew. The first pieces are of different lengths, so that not all come to the
 * end at the same moment.
 *
 * Prints one line of JSON: how many pieces, bytes and connections there were.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL
#define TICK_NS (SECOND_NS / 1000)
#define LATE_S 0.02 /* what could not be sent for longer is not made up for */
#define READS_MAX 16

struct peer {
	int fd;
	size_t at;    /* in the file */
	size_t ahead; /* sent with the first piece */
};

static struct {
	const char *address;
	char *data;
	size_t len;
	size_t piece;
	struct peer *peers;
	size_t count;
	bool closes;
	bool reads;
	unsigned long pieces, bytes, connections;
} t;

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "attack: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	long len = -1;

	if (file && fseek(file, 0, SEEK_END) == 0)
		len = ftell(file);
	if (len < 0)
		fail(path);
	rewind(file);
	t.len = (size_t)len;
	t.data = malloc(t.len + 1);
	if (!t.data || fread(t.data, 1, t.len, file) != t.len)
		fail(path);
	fclose(file);
}

/* A full queue counts as a connection that is refused: it is tried again in its turn. */
static void peer_open(struct peer *peer)
{
	struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
	struct sockaddr_in inet_address = {.sin_family = AF_INET};
	bool is_unix = strchr(t.address, '/') != NULL;
	const struct sockaddr *address = (const struct sockaddr *)&inet_address;
	socklen_t len = sizeof(inet_address);

	if (is_unix) {
		snprintf(unix_address.sun_path, sizeof(unix_address.sun_path), "%s", t.address);
		address = (const struct sockaddr *)&unix_address;
		len = sizeof(unix_address);
	}
	inet_address.sin_port = htons((uint16_t)strtoul(t.address, NULL, 10));
	inet_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer->at = 0;
	peer->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (peer->fd < 0)
		fail("socket");
	if (connect(peer->fd, address, len) < 0 && errno != EINPROGRESS) {
		close(peer->fd);
		peer->fd = -1;
		return;
	}
	t.connections++;
}

static void peer_close(struct peer *peer)
{
	close(peer->fd);
	peer->fd = -1;
}

/* Reads what there is. False if the server has hung up. */
static bool peer_read(const struct peer *peer)
{
	static char input[65536];
	ssize_t got = 1;

	for (int i = 0; i < READS_MAX && got > 0; i++)
		got = recv(peer->fd, input, sizeof(input), 0);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == ENOTCONN));
}

/* The next piece, or as much of it as the kernel takes. */
static void peer_act(struct peer *peer)
{
	size_t len;
	ssize_t sent;

	if (peer->fd >= 0 && t.reads && !peer_read(peer))
		peer_close(peer);
	if (peer->fd < 0)
		peer_open(peer);
	if (peer->fd < 0)
		return;
	len = t.len - peer->at;
	if (t.piece > 0 && len > t.piece + peer->ahead)
		len = t.piece + peer->ahead;
	sent = len > 0 ? send(peer->fd, t.data + peer->at, len, MSG_NOSIGNAL) : 0;
	if (sent < 0) {
		if (errno != EAGAIN && errno != ENOTCONN)
			peer_close(peer);
		return;
	}
	peer->ahead = 0;
	t.pieces++;
	t.bytes += (unsigned long)sent;
	peer->at += (size_t)sent;
	if (peer->at < t.len)
		return;
	peer->at = 0;
	if (t.closes)
		peer_close(peer);
}

static void attack(double rate, double seconds)
{
	uint64_t start = clock_ns();
	uint64_t end = start + (uint64_t)(seconds * (double)SECOND_NS);
	uint64_t most = 1 + (uint64_t)(rate * LATE_S);
	uint64_t done = 0;
	size_t next = 0;

	for (uint64_t now = start; now < end; now = clock_ns()) {
		const struct timespec tick = {.tv_nsec = (long)TICK_NS};
		uint64_t due = (uint64_t)(rate * (double)(now - start) / (double)SECOND_NS);

		if (due - done > most)
			done = due - most;
		for (; done < due; done++, next = (next + 1) % t.count)
			peer_act(&t.peers[next]);
		nanosleep(&tick, NULL);
	}
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: attack ADDRESS FILE PIECE CONNECTIONS RATE SECONDS "
				"again|close|unread\n");
		return 64;
	}
	t.address = argv[1];
	read_file(argv[2]);
	t.piece = strtoul(argv[3], NULL, 10);
	t.count = strtoul(argv[4], NULL, 10);
	t.closes = strcmp(argv[7], "close") == 0;
	t.reads = strcmp(argv[7], "unread") != 0;
	t.peers = calloc(t.count, sizeof(*t.peers));
	if (!t.peers)
		fail("start");
	for (size_t i = 0; i < t.count; i++)
		t.peers[i] =
			(struct peer){.fd = -1, .ahead = t.piece > 0 ? i * t.len / t.count : 0};
	attack(strtod(argv[5], NULL), strtod(argv[6], NULL));
	printf("{\"pieces\":%lu,\"bytes\":%lu,\"connections\":%lu}\n", t.pieces, t.bytes,
	       t.connections);
	return 0;
}
