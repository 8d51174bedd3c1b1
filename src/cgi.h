/*
 * The CGI door (RFC 3875): one request, from the environment and standard input to standard output.
 *
 * Floor 4. For web servers that start the program anew for each request, as on shared hosting.
 */
#ifndef CGI_H
#define CGI_H

#include <stdbool.h>

#include "gateway.h"
#include "loop.h"

struct cgi {
	struct http_exchange exchange;
	struct loop_io output_io; /* tells that the web server has given up */
	struct loop *loop;
	bool is_watching;
	bool is_done;
};

/* Whether a web server started the program for one request: REQUEST_METHOD is set. It may have
 * turned the request's query into arguments (section 4.4), so these count for nothing then. */
bool cgi_is_asked(void);

/* Reads the request, waiting for its body at most REQUEST_ARRIVAL_MS, and serves it. When the reply
 * is written, perhaps before this returns, cgi->is_done is set, standard output closed and loop
 * stopped. loop may be NULL if the gateway is closed: then it is done on return. All are borrowed
 * until then. */
void cgi_serve(struct cgi *cgi, struct loop *loop, struct gateway *gateway);

#endif
