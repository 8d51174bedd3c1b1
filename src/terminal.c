#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define READ_STEP_BYTES 1024

/* Those that end the program, unless it was told to ignore them (nohup), and those after which the
 * question is asked anew. SIGTTIN and SIGTTOU stop the program before it has changed anything. */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM};
static const int pausing_signals[] = {SIGTSTP, SIGCONT};

#define ENDING_COUNT (sizeof(ending_signals) / sizeof(ending_signals[0]))
#define PAUSING_COUNT (sizeof(pausing_signals) / sizeof(pausing_signals[0]))
#define SIGNAL_COUNT (ENDING_COUNT + PAUSING_COUNT)

static volatile sig_atomic_t ending_signal;
static volatile sig_atomic_t is_stop_asked;

struct question {
	const char *prompt;
	bool is_hidden;
	struct secret *answer;
	int fd;
	struct termios modes_before;
	sigset_t mask_before;
	struct sigaction actions_before[SIGNAL_COUNT];
};

/* ---- signals ---- */

static void on_ending_signal(int signal)
{
	ending_signal = signal;
}

static void on_pausing_signal(int signal)
{
	if (signal == SIGTSTP)
		is_stop_asked = true;
}

static int signal_at(size_t i)
{
	return i < ENDING_COUNT ? ending_signals[i] : pausing_signals[i - ENDING_COUNT];
}

/* From here on they are held, but for the moments of ppoll(): so none falls between two steps. */
static void hold_signals(struct question *q)
{
	sigset_t held;

	ending_signal = 0;
	is_stop_asked = false;
	sigemptyset(&held);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaddset(&held, signal_at(i));
	sigprocmask(SIG_BLOCK, &held, &q->mask_before);
	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		struct sigaction action = {.sa_handler = i < ENDING_COUNT ? on_ending_signal
									  : on_pausing_signal};

		sigemptyset(&action.sa_mask);
		sigaction(signal_at(i), NULL, &q->actions_before[i]);
		if (q->actions_before[i].sa_handler != SIG_IGN)
			sigaction(signal_at(i), &action, NULL);
	}
}

static void release_signals(const struct question *q)
{
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signal_at(i), &q->actions_before[i], NULL);
	sigprocmask(SIG_SETMASK, &q->mask_before, NULL);
}

void terminal_die_by(int signal)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigemptyset(&action.sa_mask);
	sigaction(signal, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	kill(getpid(), signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Ctrl-Z: stops the program as if it had not been caught, and returns when it goes on. */
static void stop_here(struct question *q)
{
	release_signals(q);
	kill(getpid(), SIGTSTP);
	hold_signals(q);
}

/* ---- the terminal ---- */

static bool set_modes(int fd, const struct termios *modes)
{
	while (tcsetattr(fd, TCSAFLUSH, modes) < 0) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

static bool hide(struct question *q)
{
	struct termios modes;

	if (tcgetattr(q->fd, &q->modes_before) < 0)
		return false;
	modes = q->modes_before;
	modes.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	return set_modes(q->fd, &modes);
}

static void write_text(const struct question *q, const char *text)
{
	/* Without the prompt one may answer all the same. */
	if (write(q->fd, text, strlen(text)) < 0)
		return;
}

/* Reads to the end of the line. TERMINAL_SIGNAL for a pause as well. */
static enum terminal_outcome read_line(struct question *q)
{
	struct pollfd watched = {.fd = q->fd, .events = POLLIN};
	struct secret *answer = q->answer;
	ssize_t len;

	for (;;) {
		if (ppoll(&watched, 1, NULL, &q->mask_before) < 0)
			return errno == EINTR ? TERMINAL_SIGNAL : TERMINAL_NONE;
		if (!secret_reserve(answer, READ_STEP_BYTES)) {
			errno = EFBIG;
			return TERMINAL_NONE;
		}
		len = read(q->fd, secret_end(answer), READ_STEP_BYTES);
		if (len < 0 && errno != EINTR)
			return TERMINAL_NONE;
		if (len == 0)
			return secret_len(answer) > 0 ? TERMINAL_LINE : TERMINAL_END;
		if (len > 0)
			secret_added(answer, (size_t)len);
		if (len > 0 && secret_str(answer)[secret_len(answer) - 1] == '\n') {
			secret_truncate(answer, secret_len(answer) - 1);
			return TERMINAL_LINE;
		}
	}
}

static enum terminal_outcome ask_once(struct question *q)
{
	enum terminal_outcome outcome;
	int errno_before;

	secret_truncate(q->answer, 0);
	if (q->is_hidden && !hide(q))
		return TERMINAL_NONE;
	write_text(q, q->prompt);
	outcome = read_line(q);
	errno_before = errno;
	if (q->is_hidden) {
		set_modes(q->fd, &q->modes_before);
		write_text(q, "\n");
	} else if (outcome != TERMINAL_LINE) {
		write_text(q, "\n");
	}
	errno = errno_before;
	return outcome;
}

/* Where a container has no controlling terminal, standard input may be one all the same. */
static int open_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	return fd < 0 && isatty(STDIN_FILENO) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : fd;
}

enum terminal_outcome terminal_ask(const char *prompt, bool is_hidden, struct secret *answer,
				   int *ret_signal)
{
	struct question q = {.prompt = prompt, .is_hidden = is_hidden, .answer = answer};
	enum terminal_outcome outcome;
	int errno_before;

	q.fd = open_terminal();
	if (q.fd < 0)
		return TERMINAL_NONE;
	hold_signals(&q);
	while ((outcome = ask_once(&q)) == TERMINAL_SIGNAL && !ending_signal) {
		if (is_stop_asked)
			stop_here(&q);
	}
	errno_before = errno;
	release_signals(&q);
	close(q.fd);
	if (outcome != TERMINAL_LINE)
		secret_truncate(answer, 0);
	*ret_signal = ending_signal;
	errno = errno_before;
	return outcome;
}
