/*
 * A login by CGI as libcurl's examples lead to it: an easy handle with its defaults, among them the
 * certificate authorities of the system.
 *
 *	obvious-cgi		(CLIENT_ID, CLIENT_SECRET, TOKEN_URL, and the variables of CGI)
 */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX_BYTES (16 * 1024)
#define ANSWER_MAX_BYTES (64 * 1024)

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
	curl_easy_setopt(curl, CURLOPT_URL, getenv("TOKEN_URL"));
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 12L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	if (curl_easy_perform(curl) != CURLE_OK)
		return 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	answer->text[answer->len] = '\0';
	return status == 200;
}

int main(void)
{
	static struct answer answer;
	char body[BODY_MAX_BYTES + 1];
	const char *username, *password;
	char *text = NULL;
	cJSON *login, *token = NULL;
	CURL *curl;

	body[fread(body, 1, BODY_MAX_BYTES, stdin)] = '\0';
	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	login = cJSON_Parse(body);
	username = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "username"));
	password = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "password"));
	if (curl && username && password && ask(curl, username, password, &answer))
		token = cJSON_Parse(answer.text);
	if (cJSON_GetObjectItemCaseSensitive(token, "access_token"))
		text = cJSON_PrintUnformatted(token);
	if (text)
		printf("Content-Type: application/json\r\n\r\n%s", text);
	else
		printf("Status: 500 Internal Server Error\r\n\r\n");
	free(text);
	cJSON_Delete(token);
	cJSON_Delete(login);
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	return EXIT_SUCCESS;
}
