/*
 * A login service as the libraries' own examples lead to it: threads that block in FCGX_Accept_r,
 * each with a curl easy handle of its own.
 *
 *	threads SOCKET_PATH THREADS		(CLIENT_ID, CLIENT_SECRET, TOKEN_URL, CA_FILE)
 */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BODY_MAX_BYTES (16 * 1024)
#define ANSWER_MAX_BYTES (64 * 1024)
#define BACKLOG 4096

static int listener;

struct answer {
	char text[ANSWER_MAX_BYTES];
	size_t len;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct answer *answer = context;

	if (answer->len + size * count >= sizeof(answer->text))
		return 0;
	memcpy(answer->text + answer->len, data, size * count);
	answer->len += size * count;
	return size * count;
}

static void add_field(CURL *curl, char *form, size_t form_size, const char *name, const char *value)
{
	char *escaped = curl_easy_escape(curl, value, 0);
	size_t len = strlen(form);

	snprintf(form + len, form_size - len, "%s%s=%s", len ? "&" : "", name,
		 escaped ? escaped : "");
	curl_free(escaped);
}

/* Posts the login; whether a token came back. */
static int ask(CURL *curl, const char *username, const char *password, struct answer *answer)
{
	char form[BODY_MAX_BYTES * 4] = "";
	long status = 0;

	add_field(curl, form, sizeof(form), "client_id", getenv("CLIENT_ID"));
	add_field(curl, form, sizeof(form), "client_secret", getenv("CLIENT_SECRET"));
	add_field(curl, form, sizeof(form), "username", username);
	add_field(curl, form, sizeof(form), "password", password);
	add_field(curl, form, sizeof(form), "grant_type", "password");
	answer->len = 0;
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	if (curl_easy_perform(curl) != CURLE_OK)
		return 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	answer->text[answer->len] = '\0';
	return status == 200;
}

static void serve(CURL *curl, FCGX_Request *request, struct answer *answer)
{
	char body[BODY_MAX_BYTES + 1];
	int len = FCGX_GetStr(body, BODY_MAX_BYTES, request->in);
	cJSON *login, *token = NULL;
	const char *username, *password;
	char *text = NULL;

	body[len] = '\0';
	login = cJSON_Parse(body);
	username = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "username"));
	password = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "password"));
	if (username && password && ask(curl, username, password, answer))
		token = cJSON_Parse(answer->text);
	if (cJSON_GetObjectItemCaseSensitive(token, "access_token"))
		text = cJSON_PrintUnformatted(token);
	if (text)
		FCGX_FPrintF(request->out, "Content-Type: application/json\r\n\r\n%s", text);
	else
		FCGX_FPrintF(request->out, "Status: 500 Internal Server Error\r\n\r\n");
	free(text);
	cJSON_Delete(token);
	cJSON_Delete(login);
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
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
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
