/*
 * A login service as the libraries' own examples lead to it: threads that block in FCGX_Accept_r,
 * each with a curl easy handle of its own.
 *
 *	threads SOCKET_PATH THREADS		(CLIENT_ID, CLIENT_SECRET, TOKEN_URL, CA_FILE)
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ask.h"

#define BACKLOG 4096

static int listener;

static void serve(CURL *curl, FCGX_Request *request, struct answer *answer)
{
	char body[BODY_MAX_BYTES + 1];
	int len = FCGX_GetStr(body, BODY_MAX_BYTES, request->in);
	char *text;

	body[len] = '\0';
	text = log_in(curl, body, answer);
	if (text)
		FCGX_FPrintF(request->out, "Content-Type: application/json\r\n\r\n%s", text);
	else
		FCGX_FPrintF(request->out, "Status: 500 Internal Server Error\r\n\r\n");
	free(text);
}

static void *work(void *unused)
{
	CURL *curl = curl_easy_init();
	struct answer *answer = malloc(sizeof(*answer));
	FCGX_Request request;

	FCGX_InitRequest(&request, listener, 0);
	curl_easy_setopt(curl, CURLOPT_URL, getenv("TOKEN_URL"));
	curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("CA_FILE"));
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 12L);
	while (FCGX_Accept_r(&request) == 0) {
		serve(curl, &request, answer);
		FCGX_Finish_r(&request);
	}
	curl_easy_cleanup(curl);
	free(answer);
	return unused;
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0;

	umask(0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (count < 1 || FCGX_Init() != 0)
		return EXIT_FAILURE;
	listener = FCGX_OpenSocket(argv[1], BACKLOG);
	if (listener < 0)
		return EXIT_FAILURE;
	for (int i = 1; i < count; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, NULL) != 0)
			return EXIT_FAILURE;
	}
	work(NULL);
	return EXIT_SUCCESS;
}
