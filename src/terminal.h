/*
 * Asking a person at the terminal.
 *
 * Floor 0. Whatever ends the question, the terminal is left as it was found: after the answer,
 * after Ctrl-C and every other signal that can be caught, and while Ctrl-Z has stopped the program.
 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>

#include "buf.h"

enum terminal_outcome {
	TERMINAL_LINE,   /* an answer, perhaps an empty one */
	TERMINAL_END,    /* the end of input (Ctrl-D) instead of an answer */
	TERMINAL_SIGNAL, /* one that is to end the program: *ret_signal */
	TERMINAL_NONE,   /* there is no terminal, or it fails; errno */
};

/* Asks one line of the controlling terminal, wherever standard input and output go. is_hidden: what
 * is typed is not shown, and what was typed before is thrown away. answer: initialised by the
 * caller; gets the line without its newline, and is empty after any other outcome. Must not be
 * called while another thread runs. */
enum terminal_outcome terminal_ask(const char *prompt, bool is_hidden, struct secret *answer,
				   int *ret_signal);

/* Ends the program by a signal, as if nothing had caught it: whoever waits for the program sees
 * that. Returns where the signal ends nothing. */
void terminal_die_by(int signal);

#endif
