/*
 * A login, asked by a curl easy handle in the way of libcurl's examples; for the programs here.
 *
 * The environment has CLIENT_ID and CLIENT_SECRET; all else is set on the handle.
 */
#ifndef ASK_H
#define ASK_H

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
	answer->len = 0;
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	if (curl_easy_perform(curl) != CURLE_OK)
		return 0;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	answer->text[answer->len] = '\0';
	return status == 200;
}

/* The token's JSON for a request's body, to be freed; NULL if there is none. */
static char *log_in(CURL *curl, const char *body, struct answer *answer)
{
	cJSON *login = cJSON_Parse(body);
	cJSON *token = NULL;
	const char *username, *password;
	char *text = NULL;

	username = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "username"));
	password = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(login, "password"));
	if (username && password && ask(curl, username, password, answer))
		token = cJSON_Parse(answer->text);
	if (cJSON_GetObjectItemCaseSensitive(token, "access_token"))
		text = cJSON_PrintUnformatted(token);
	cJSON_Delete(token);
	cJSON_Delete(login);
	return text;
}

#endif
